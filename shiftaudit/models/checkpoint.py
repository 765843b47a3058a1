"""Weights without a network: state dicts and safetensors, and the pickled modules that are refused unless trusted."""

from __future__ import annotations

import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shiftaudit.errors import InputError, ModelError, from_extra
from shiftaudit.models import archives
from shiftaudit.models.carried import EXTRA_FILE, Carried
from shiftaudit.models.loaded import last_line, refuse_lazy

_NESTED_UNDER = ("state_dict", "model_state_dict", "model", "net", "state_dict_ema", "model_ema")
_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")
"""Prefixes that DataParallel, torch.compile and training frameworks (Lightning) leave on every name."""
_TRAINING_HEADS = ("aux1.", "aux2.", "AuxLogits.")
"""The Inceptions' auxiliary heads: in some checkpoints and not in others, and never run in eval mode."""
_FIRST_FEW = 3


def load_state(path: Path, kind: archives.FileKind, *, trust: bool) -> dict[str, Tensor] | nn.Module:
    """The tensors of a checkpoint, also of one nested under `state_dict` or `model`; a pickled module if that is trusted.

    Args:
        kind: as `archives.kind_of` tells it.

    Raises:
        InputError: the file is no state dict, or a pickle that is not trusted.
    """
    if kind == archives.SAFETENSORS:
        return _load_safetensors(path)
    if kind != archives.STATE_DICT:
        raise InputError(f"{path} is a whole model ({kind}); expected a state dict or safetensors")
    data = _unpickled(path, trust=trust)
    for key in _NESTED_UNDER:
        if isinstance(data, dict) and isinstance(data.get(key), (dict, nn.Module)):
            data = data[key]
    if isinstance(data, nn.Module):
        refuse_lazy(data)
        return data
    if not isinstance(data, dict) or not data:
        raise InputError(f"{path} holds {_described(data)}; expected a state dict of tensors")
    other = [f"{name} ({type(value).__name__})" for name, value in data.items() if not isinstance(value, Tensor)]
    if other:
        raise InputError(f"{path} is no state dict of tensors: it also holds {_few(other)}")
    odd = [f"{name} ({why})" for name, tensor in data.items() if (why := _no_plain_tensor(tensor)) is not None]
    if odd:
        raise InputError(
            f"{path} holds tensors that are no plain numbers: {_few(odd)}",
            hint="save a dense state dict of the network",
        )
    return {str(name): tensor for name, tensor in data.items()}


def _no_plain_tensor(tensor: Tensor) -> str | None:
    if tensor.is_meta:
        return "without values"
    if tensor.layout != torch.strided:
        return str(tensor.layout).removeprefix("torch.").replace("_", " ")
    return "quantised" if tensor.is_quantized else None


def _described(data: Any) -> str:
    return "nothing" if data is None or data == {} else f"a {type(data).__name__}"


def _unpickled(path: Path, *, trust: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not _is_pickle_of_objects(path, error):
            raise _not_a_model(path) from error
        if not trust:
            raise InputError(
                f"{path} holds pickled Python objects{_named_objects(path)}, and loading them can run any code",
                hint="save a TorchScript file or the state_dict(), or add --trust if you know where it comes from",
            ) from error
    except Exception as error:
        raise _not_a_model(path) from error
    return _load_trusted(path)


def _not_a_model(path: Path) -> InputError:
    return InputError(
        f"{path} is not a model file, or is damaged", hint="expected TorchScript, .pt2, a state dict or safetensors"
    )


def _is_pickle_of_objects(path: Path, error: Exception) -> bool:
    """Whether the safe loader stopped at a Python object, not at bytes that are no pickle."""
    if "GLOBAL" in str(error):
        return True
    with path.open("rb") as file:
        return file.read(1) == b"\x80"  # the first opcode of every pickle since protocol 2


def _named_objects(path: Path) -> str:
    try:
        names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:
        return ""  # only archives can be read without running them; the message does without the names
    return f" ({_few(names)})" if names else ""


def _load_trusted(path: Path) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # a pickled module's class usually lives beside it
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:
        raise ModelError(f"{path} cannot be unpickled: {type(error).__name__}: {last_line(error)}") from error


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    with from_extra("safetensors", "safetensors"):
        from safetensors.torch import load_file
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except Exception as error:
        raise InputError(f"{path} is not a safetensors file, or is damaged: {last_line(error)}") from error
    return tensors


def safetensors_carried(path: Path) -> Carried:
    """What a safetensors file's metadata says."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return Carried.from_json((file.metadata() or {}).get(EXTRA_FILE), path)


def head_classes(module: nn.Module, tensors: dict[str, Tensor]) -> int | None:
    """How many classes the weights have where their classifier is all that does not fit; None when it fits or more is wrong.

    >>> head_classes(nn.Linear(4, 1000), nn.Linear(4, 10).state_dict())
    10
    """
    own = module.state_dict()
    tensors = _unwrapped(tensors, own)
    differing = [(own[name].shape, tensors[name].shape) for name in own if name in tensors]
    differing = [(mine, theirs) for mine, theirs in differing if mine != theirs]
    pairs = {(mine[0], theirs[0]) for mine, theirs in differing if mine and theirs and mine[1:] == theirs[1:]}
    if len(pairs) != 1 or not all(mine[1:] == theirs[1:] for mine, theirs in differing):
        return None
    return int(next(iter(pairs))[1])


def fill(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load a state dict strictly, but for auxiliary heads and the prefixes of wrappers.

    Raises:
        InputError: names or shapes differ; the first few are named.
    """
    own = module.state_dict()
    tensors = _unwrapped(tensors, own)
    missing = [name for name in own if name not in tensors and not name.startswith(_TRAINING_HEADS)]
    unexpected = [name for name in tensors if name not in own and not name.startswith(_TRAINING_HEADS)]
    reshaped = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    groups = (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
    problems = [f"{what}: {_few(names)}" for what, names in groups if names]
    if problems:
        raise InputError(
            f"{path} does not fit the network ({'; '.join(problems)})", hint="check that it is this network's file"
        )
    module.load_state_dict(tensors, strict=False)


def _unwrapped(tensors: dict[str, Tensor], own: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors under the network's names: without a wrapper's prefix, unless the network's own names have it."""
    for prefix in _WRAPPERS:
        if all(name.startswith(prefix) for name in tensors) and not any(name.startswith(prefix) for name in own):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _few(names: list[str]) -> str:
    rest = len(names) - _FIRST_FEW
    return ", ".join(names[:_FIRST_FEW]) + (f" and {rest} more" if rest > 0 else "")
