"""Any model a user has, loaded: torchvision, timm, import strings, TorchScript, exported programs, checkpoints."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shiftaudit.models.load import load_model
    from shiftaudit.models.loaded import LoadedModel
    from shiftaudit.records.settings import ModelOptions

# Loaded at first use: what can be said of a model without torch is said without it.
_LAZY = {
    "LoadedModel": "shiftaudit.models.loaded",
    "ModelOptions": "shiftaudit.records.settings",
    "load_model": "shiftaudit.models.load",
}

__all__ = ["LoadedModel", "ModelOptions", "load_model"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
