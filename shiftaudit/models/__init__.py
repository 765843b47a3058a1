"""Any model a user has, loaded: torchvision, timm, import strings, TorchScript, exported programs, checkpoints."""

from shiftaudit.models.load import load_model
from shiftaudit.models.loaded import LoadedModel
from shiftaudit.records.settings import ModelOptions

__all__ = ["LoadedModel", "ModelOptions", "load_model"]
