"""Audit image classifiers for shift-invariance, patch them with BlurPool, and gate CI on it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shiftaudit.version import __version__

if TYPE_CHECKING:
    from shiftaudit.audit.api import score
    from shiftaudit.models import LoadedModel, ModelOptions, load_model
    from shiftaudit.records.patch import PatchOptions
    from shiftaudit.records.settings import Settings
    from shiftaudit.surgery.blurpool import BlurPool
    from shiftaudit.surgery.patch import patch
    from shiftaudit.testing import assert_shift_invariant

# Loaded at first use: importing the package must not import torch.
_LAZY = {
    "BlurPool": "shiftaudit.surgery.blurpool",
    "LoadedModel": "shiftaudit.models",
    "ModelOptions": "shiftaudit.records.settings",
    "PatchOptions": "shiftaudit.records.patch",
    "Settings": "shiftaudit.records.settings",
    "assert_shift_invariant": "shiftaudit.testing",
    "load_model": "shiftaudit.models",
    "patch": "shiftaudit.surgery.patch",
    "score": "shiftaudit.audit.api",
}

__all__ = [
    "BlurPool",
    "LoadedModel",
    "ModelOptions",
    "PatchOptions",
    "Settings",
    "__version__",
    "assert_shift_invariant",
    "load_model",
    "patch",
    "score",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
