"""Audit image classifiers for shift-invariance, patch them with BlurPool, and gate CI on it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shiftaudit.version import __version__

if TYPE_CHECKING:
    from shiftaudit.testing import assert_shift_invariant

# Loaded at first use: importing the package must not import torch.
_LAZY = {"assert_shift_invariant": "shiftaudit.testing"}

__all__ = ["__version__", "assert_shift_invariant"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
