"""TorchScript files: load them, and find out what they take, which they do not say."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from shiftaudit.errors import ModelError
from shiftaudit.models.carried import EXTRA_FILE, Carried
from shiftaudit.models.loaded import LoadedModel, last_line

_BATCHES = (1, 4, 8, 16, 32, 64, 3, 5, 6)
_SIZES = (224, 28, 32, 48, 64, 96, 112, 128, 160, 192, 240, 256, 288, 299, 320, 384)


@contextmanager
def no_jit_warnings() -> Iterator[None]:
    """Without what torch says of torch.jit: it is deprecated, but is what people's files are."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit")
        yield


def load_torchscript(path: Path, device: str) -> tuple[nn.Module, Carried]:
    """A TorchScript file in eval mode. It runs TorchScript when called, never Python.

    Raises:
        ModelError: the file is damaged.
    """
    extra: dict[str, Any] = {EXTRA_FILE: ""}
    try:
        with no_jit_warnings():
            module = _load(path, device, extra)
    except Exception as error:
        raise ModelError(
            f"{path} cannot be loaded as TorchScript: {last_line(error)}", hint="save or download it again"
        ) from error
    return module.eval(), Carried.from_json(extra[EXTRA_FILE], path)


def _load(path: Path, device: str, extra: dict[str, Any]) -> Any:
    try:
        return torch.jit.load(str(path), map_location=device, _extra_files=extra)
    except RuntimeError as error:
        if "torchvision" not in str(error):
            raise
    import torchvision  # noqa: F401  # which brings the operations the file misses, and costs as much as importing torch

    return torch.jit.load(str(path), map_location=device, _extra_files=extra)


def settle_batch(model: LoadedModel, device: str) -> LoadedModel:
    """The model with its `fixed_batch`: None when it takes one image as well as two.

    A traced network may carry its example's batch size as a constant, in a reshape for instance. The file does not say so; it has
    to be tried.

    Raises:
        ModelError: the model takes no batch at this size; the hint names a size and channels it does take, if any is found.
    """
    if model.fixed_batch is not None:
        return model
    first = _refusal(model, 2, device)
    if first is None:
        return model if _refusal(model, 1, device) is None else replace(model, fixed_batch=2)
    for batch in _BATCHES:
        if _refusal(model, batch, device) is None:
            return replace(model, fixed_batch=batch)
    raise ModelError(first.message, hint=_other_input(model, device) or first.hint) from first


def _refusal(
    model: LoadedModel, batch: int, device: str, *, size: int | None = None, channels: int | None = None
) -> ModelError | None:
    """What went wrong with a batch of this shape; None when it gave logits."""
    side = size or model.preprocessing.size
    try:
        with torch.inference_mode():
            model(torch.zeros(batch, channels or model.preprocessing.channels, side, side, device=device))
    except ModelError as error:
        return error
    return None


def _other_input(model: LoadedModel, device: str) -> str | None:
    """Options with which the model runs, for a hint. They are not used unasked: the means are then a guess too."""
    used = model.preprocessing
    for channels, size, batch in itertools.product((used.channels, 4 - used.channels), (used.size, *_SIZES), (1, 2)):
        if _refusal(model, batch, device, size=size, channels=channels) is None:
            options = f"--size {size}" if size != used.size else ""
            if channels != used.channels:
                options += f" --channels {channels}"
            return f"the model takes other images: try {options.strip()}"
    return None
