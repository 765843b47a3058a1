"""Networks by name: torchvision's classifiers, timm's, and anything importable."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from shiftaudit.errors import InputError, ModelError
from shiftaudit.models.loaded import input_channels, last_line
from shiftaudit.models.preprocessing import from_transforms, preset
from shiftaudit.models.quiet import stdout_to_stderr
from shiftaudit.records.report import Preprocessing

DEFAULT, NO_WEIGHTS = "DEFAULT", "none"
TIMM = "timm:"


@dataclass(frozen=True)
class Built:
    """A network, the preprocessing its weights were trained with, and what is said about both."""

    module: nn.Module
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    weights: str | None


def is_torchvision(name: str) -> bool:
    """Whether torchvision has a classifier of this name."""
    return name in torchvision.models.list_models(module=torchvision.models)


def similar_names(name: str) -> str:
    """Close torchvision names, for an error message; empty when there is none."""
    close = difflib.get_close_matches(name.lower(), torchvision.models.list_models(module=torchvision.models), n=3)
    return f"did you mean {' or '.join(close)}?" if close else ""


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Build with random weights drawn from `seed`, leaving the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def torchvision_model(name: str, weights: str, seed: int) -> Built:
    """A torchvision classifier with `DEFAULT`, `none` or enum weights.

    Raises:
        InputError: the weights enum has no such member.
        ModelError: the weights cannot be downloaded.
    """
    enum: Any = torchvision.models.get_model_weights(name)
    if weights != NO_WEIGHTS and weights != DEFAULT and weights not in enum.__members__:
        known = ", ".join(enum.__members__)
        raise InputError(f"--weights got {weights!r}; {name} has {known}, DEFAULT and none, or name a file")
    meta = enum.DEFAULT if weights in (NO_WEIGHTS, DEFAULT) else enum[weights]
    preprocessing = from_transforms(meta.transforms()) or preset(3)
    # Both Inceptions warn about a slow default initialisation unless told.
    options: dict[str, Any] = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    if weights == NO_WEIGHTS:
        module = seeded(lambda: torchvision.models.get_model(name, weights=None, **options), seed)
        return Built(module, preprocessing, tuple(meta.meta["categories"]), f"none (seed {seed})")
    try:
        module = torchvision.models.get_model(name, weights=meta)
    except OSError as error:
        raise ModelError(
            f"the weights of {name} ({meta.name}) could not be downloaded: {last_line(error)}",
            hint="give a local file with --weights FILE, or score random weights with --weights none",
        ) from error
    return Built(module, preprocessing, tuple(meta.meta["categories"]), meta.name)


def timm_model(name: str, weights: str, seed: int) -> Built:
    """A timm classifier with its default weights or none.

    Raises:
        InputError: timm is not installed or does not have it.
        ModelError: the weights cannot be downloaded.
    """
    try:
        import timm
        from timm.data import resolve_model_data_config
    except ImportError as error:
        raise InputError("timm is not installed", hint="pip install 'shiftaudit[timm]'") from error
    if not timm.is_model(name.split(".")[0]):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise InputError(f"timm has no model {name!r}", hint=f"try {' or '.join(close)}" if close else None)
    if weights not in (NO_WEIGHTS, DEFAULT):
        raise InputError(f"--weights got {weights!r}; a timm model takes DEFAULT, none or a file")
    try:
        module = seeded(lambda: timm.create_model(name, pretrained=weights == DEFAULT), seed)
    except Exception as error:
        raise ModelError(
            f"timm could not make {name}: {last_line(error)}",
            hint="give a local file with --weights FILE, or score random weights with --weights none",
        ) from error
    config = resolve_model_data_config(module)
    size = int(config["input_size"][-1])
    preprocessing = Preprocessing(
        size=size,
        resize=max(size, int(size / float(config["crop_pct"]))),
        mean=tuple(float(m) for m in config["mean"]),
        std=tuple(float(s) for s in config["std"]),
        interpolation=str(config["interpolation"]),
        channels=int(config["input_size"][0]),
        source="timm",
    )
    return Built(module, preprocessing, None, f"none (seed {seed})" if weights == NO_WEIGHTS else weights)


def imported_model(source: str, seed: int) -> Built:
    """What `package.module:callable` returns, or the module it names.

    Raises:
        InputError: it cannot be imported or is not a network.
        ModelError: calling it failed.
    """
    module_name, _, attribute = source.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        with stdout_to_stderr():
            found: Any = importlib.import_module(module_name)
            for part in attribute.split("."):
                found = getattr(found, part)
    except Exception as error:
        raise InputError(
            f"{source} cannot be imported: {type(error).__name__}: {last_line(error)}",
            hint="expected package.module:callable, importable from the current folder",
        ) from error
    if not isinstance(found, nn.Module):
        if not callable(found):
            raise InputError(f"{source} is a {type(found).__name__}; expected a callable that returns an nn.Module")
        try:
            with stdout_to_stderr():
                found = seeded(found, seed)
        except Exception as error:
            raise ModelError(f"{source} failed: {type(error).__name__}: {last_line(error)}") from error
    if not isinstance(found, nn.Module):
        raise InputError(f"{source} returned a {type(found).__name__}; expected an nn.Module")
    return Built(found, preset(input_channels(found)), None, None)
