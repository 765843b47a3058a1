"""Models in files: TorchScript, exported programs, state dicts and safetensors."""

from __future__ import annotations

import json
import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shiftaudit.errors import InputError, ModelError
from shiftaudit.models.loaded import input_channels, last_line
from shiftaudit.models.preprocessing import preset
from shiftaudit.records.codec import structure
from shiftaudit.records.report import Preprocessing

EXTRA = "shiftaudit.json"
_TRUST_HINT = "add --trust if you know where the file comes from"


@dataclass(frozen=True)
class Carried:
    """What a file written by this tool says of itself."""

    preprocessing: Preprocessing | None = None
    class_names: tuple[str, ...] | None = None
    arch: str | None = None
    patch: dict[str, Any] | None = None


def read_carried(text: str | bytes | None, path: Path) -> Carried:
    """Parse the extra file `shiftaudit.json` of a model file; empty when there is none."""
    if not text:
        return Carried()
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path} carries a damaged {EXTRA}: {error}") from error
    preprocessing = data.get("preprocessing")
    names = data.get("class_names")
    return Carried(
        preprocessing=structure({**preprocessing, "source": "file"}, Preprocessing, str(path))
        if preprocessing
        else None,
        class_names=tuple(names) if names else None,
        arch=data.get("arch"),
        patch=data.get("patch"),
    )


def load_torchscript(path: Path) -> tuple[nn.Module, Carried]:
    """A TorchScript file on the CPU, in eval mode. It runs TorchScript when called, never Python.

    Raises:
        ModelError: the file is damaged.
    """
    extra: dict[str, Any] = {EXTRA: ""}
    try:
        with warnings.catch_warnings():
            # torch.jit is deprecated but is what people's files are.
            warnings.filterwarnings("ignore", message=r".*torch\.jit", category=FutureWarning)
            warnings.filterwarnings("ignore", message=r".*torch\.jit", category=DeprecationWarning)
            module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
    except Exception as error:
        raise ModelError(f"{path} cannot be loaded as TorchScript: {last_line(error)}") from error
    return module.eval(), read_carried(extra[EXTRA], path)


def load_exported(path: Path, *, trust: bool) -> tuple[nn.Module, Carried, int | None]:
    """An exported program's module, and its batch size if it has a fixed one.

    Raises:
        InputError: the user did not say that the file is trusted; loading one can run Python.
        ModelError: the file is damaged.
    """
    if not trust:
        raise InputError(f"{path} is an exported program, and loading one can run Python code", hint=_TRUST_HINT)
    extra: dict[str, Any] = {EXTRA: ""}
    try:
        program = torch.export.load(path, extra_files=extra)
        module = program.module()
    except Exception as error:
        raise ModelError(f"{path} cannot be loaded as an exported program: {last_line(error)}") from error
    shapes = [
        node.meta["val"].shape for node in program.graph.nodes if node.name in program.graph_signature.user_inputs
    ]
    batch = shapes[0][0] if shapes and len(shapes[0]) else None
    return module, read_carried(extra[EXTRA], path), batch if isinstance(batch, int) else None


def load_state(path: Path, *, trust: bool) -> dict[str, Tensor] | nn.Module:
    """The tensors of a checkpoint, also of one nested under `state_dict` or `model`; a pickled module if that is trusted.

    Raises:
        InputError: the file is no state dict, or a pickle that is not trusted.
    """
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not trust:
            raise InputError(
                f"{path} holds pickled Python objects, and loading them can run any code",
                hint=f"save the model with torch.jit.save or its state_dict(), or {_TRUST_HINT}",
            ) from error
        data = _load_trusted(path)
    except Exception as error:
        raise InputError(
            f"{path} is not a model file: {last_line(error)}",
            hint="expected TorchScript, .pt2, a state dict or safetensors",
        ) from error
    if isinstance(data, nn.Module):
        return data
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(data, dict) and isinstance(data.get(key), dict):
            data = data[key]
    if not isinstance(data, dict) or not data or not all(isinstance(value, Tensor) for value in data.values()):
        raise InputError(f"{path} holds a {type(data).__name__}, not a state dict of tensors")
    return {name.removeprefix("module."): tensor for name, tensor in data.items()}


def _load_trusted(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:
        raise ModelError(f"{path} cannot be unpickled: {type(error).__name__}: {last_line(error)}") from error


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise InputError("safetensors is not installed", hint="pip install 'shiftaudit[safetensors]'") from error
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except Exception as error:
        raise InputError(f"{path} is not a safetensors file: {last_line(error)}") from error
    return tensors


def safetensors_carried(path: Path) -> Carried:
    """What a safetensors file's metadata says."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return read_carried((file.metadata() or {}).get(EXTRA), path)


def fill(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load a state dict strictly.

    Raises:
        InputError: names or shapes differ; the first few are named.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in tensors]
    unexpected = [name for name in tensors if name not in own]
    reshaped = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    problems = [
        f"{what}: {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
        if names
    ]
    if problems:
        raise InputError(f"{path} does not fit the network ({'; '.join(problems)})", hint="check --arch")
    module.load_state_dict(tensors)


def default_preprocessing(module: nn.Module, carried: Carried) -> Preprocessing:
    """The file's own preprocessing, or the stated ImageNet preset for its number of channels."""
    return carried.preprocessing or preset(input_channels(module))
