"""A model in any of the forms that the functions of the Python API take."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from shiftaudit.errors import InputError
from shiftaudit.models.load import load_model
from shiftaudit.models.loaded import LoadedModel
from shiftaudit.models.runner import Runner, is_runner
from shiftaudit.records.report import Preprocessing

AnyModel = LoadedModel | nn.Module | Runner | str | Path
"""A module of your own (left as it is), a runner, a loaded model, or whatever the command line takes as MODEL."""


def as_loaded(model: AnyModel, preprocessing: Preprocessing | None = None, device: str = "cpu") -> LoadedModel:
    """The model, loaded.

    Raises:
        InputError: preprocessing was given for a model that has its own.
        ModelError: it cannot be loaded.
    """
    if isinstance(model, nn.Module):
        return LoadedModel.from_module(model, preprocessing).to(device)
    if is_runner(model):
        return LoadedModel.from_runner(model, preprocessing)
    if preprocessing is not None:
        raise InputError("preprocessing is for a module of your own", hint="load_model takes it as ModelOptions")
    return model if isinstance(model, LoadedModel) else load_model(str(model), device=device)
