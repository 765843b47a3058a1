"""What can be said of a model's name before anything is loaded. No torch, so that a mistyped path is told at once."""

from __future__ import annotations

import os
from pathlib import Path

from shiftaudit.errors import InputError
from shiftaudit.records.settings import ModelOptions

FORMS = (
    "a torchvision name (resnet50), timm:NAME, hf:ORG/NAME or its folder, package.module:callable, "
    "or a TorchScript, .pt2, .onnx, .safetensors or state-dict file"
)
_FILE_SUFFIXES = (".pt", ".pth", ".pt2", ".onnx", ".safetensors", ".ts", ".bin", ".ckpt")


def check_source(source: str, options: ModelOptions) -> None:
    """Refuse files that are not there, and options that go with a file only.

    Raises:
        InputError: the model or the weights look like a file and are none, or no model was named.
    """
    if not source:
        raise InputError(f"MODEL is empty; expected {FORMS}")
    if is_missing_file(source):
        raise InputError(f"MODEL got {source!r}: no such file; expected {FORMS}")
    if options.arch is not None and not is_file(source) and not is_folder(source):
        raise InputError(f"--arch goes with a file of weights, but {source} is no file")
    if options.weights is not None and is_missing_file(options.weights):
        raise InputError(f"--weights got {options.weights!r}: no such file")


def weights_not_needed(source: str) -> str | None:
    """`weights` of a load for the network's operations alone: `none` for what would be downloaded.

    >>> weights_not_needed("resnet50"), weights_not_needed("my.networks:build")
    ('none', None)
    """
    brings_its_own = is_file(source) or (":" in source and not source.startswith(("timm:", "hf:")))
    return None if brings_its_own else "none"


def is_missing_file(name: str) -> bool:
    """Whether a name can be nothing but a file's, and there is none.

    >>> is_missing_file("no/such/model.pt"), is_missing_file("resnet50"), is_missing_file("timm:resnet50.a1_in1k")
    (True, False, False)
    """
    looks_like_file = name.lower().endswith(_FILE_SUFFIXES) or ("/" in name and ":" not in name)
    return looks_like_file and not is_file(name) and not is_folder(name)


def is_file(path: str | Path) -> bool:
    """Whether there is a file of this name; False for what is too long to be one."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises where a name is too long


def is_model_folder(path: str | Path) -> bool:
    """Whether a folder is laid out as Hugging Face's `save_pretrained` does it."""
    return is_file(Path(path) / "config.json")


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder of this name; False for what is too long to be one."""
    return os.path.isdir(path)  # noqa: PTH112 - as above
