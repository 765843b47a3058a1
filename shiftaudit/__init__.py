"""Audit image classifiers for shift-invariance, patch them with BlurPool, and gate CI on it."""

from shiftaudit.version import __version__

__all__ = ["__version__"]
