"""Write a patched model: self-contained TorchScript or `.pt2`, or the bare weights.

The first two carry `shiftaudit.json` inside: preprocessing, class names, architecture and the patch record.
"""

from __future__ import annotations

import io
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.jit import TracerWarning  # type: ignore[attr-defined]

from shiftaudit.errors import PatchError, first_line, from_extra
from shiftaudit.files import write_bytes_atomically
from shiftaudit.models.archives import ONNX, PT2, STATE_DICT, TORCHSCRIPT
from shiftaudit.models.carried import EXTRA_FILE, Carried
from shiftaudit.models.onnx import HEADER
from shiftaudit.models.torchscript import no_jit_warnings
from shiftaudit.surgery.blurpool import BlurPool
from shiftaudit.surgery.fx.trace import evaluating, independent


def check_storable(module: nn.Module, file_format: str) -> None:
    """Raises: PatchError where a module of this kind is never stored in this format."""
    is_script, is_onnx = (
        isinstance(module, torch.jit.ScriptModule),
        isinstance(module, fx.GraphModule) and HEADER in module.meta,
    )
    if file_format == PT2 and is_script:
        raise PatchError("a TorchScript model cannot be stored as .pt2", hint="write a .pt file")
    if file_format == ONNX and not is_onnx:
        raise PatchError(
            "a PyTorch model cannot be stored as .onnx", hint="patch its ONNX file, or write .pt2 and convert that"
        )


def save_model(
    path: Path, module: nn.Module, carried: Carried, *, file_format: str, example: Tensor
) -> tuple[str, ...]:
    """Write `module` to exactly `path`, atomically, in eval mode; return what the user should know about the file.

    Args:
        example: (N, C, H, W), to trace or export with.

    Raises:
        PatchError: the module cannot be stored in this format.
        InputError: the path cannot be written.
    """
    check_storable(module, file_format)
    notes: list[str] = []
    if file_format == TORCHSCRIPT:
        data = _torchscript(module, carried, example, notes)
    elif file_format == ONNX:
        data = _onnx(module, carried, example)
    elif file_format == PT2:
        data = _exported(module, carried, example, notes)
    else:
        state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}
        notes.append("the file holds weights alone: patch the architecture again, then load them")
        data = _weights(state, carried, file_format)
    write_bytes_atomically(path, data)
    return tuple(notes)


def _torchscript(module: nn.Module, carried: Carried, example: Tensor, notes: list[str]) -> bytes:
    buffer = io.BytesIO()
    extra = {EXTRA_FILE: carried.to_json()}
    with no_jit_warnings():
        warnings.filterwarnings("ignore", message="The TorchScript type system")  # about fx's own GraphModule
        warnings.filterwarnings("ignore", category=TracerWarning)
        scripted = _scripted(module, example, notes)
        try:
            torch.jit.save(scripted, buffer, _extra_files=extra)
        except Exception as error:  # what was loaded from a damaged file may run and still not be written
            raise _not_stored(error, "load it from an undamaged file") from error
    return buffer.getvalue()


def _not_stored(error: Exception, hint: str) -> PatchError:
    return PatchError(f"the model cannot be stored as TorchScript: {first_line(error)}", hint=hint)


def _scripted(module: nn.Module, example: Tensor, notes: list[str]) -> torch.jit.ScriptModule:
    if isinstance(module, torch.jit.ScriptModule):
        return module
    module = evaluating(independent(module))
    try:
        scripted: torch.jit.ScriptModule = torch.jit.script(module)
        with torch.no_grad():
            scripted(example)
        return scripted
    except Exception:
        # Exported programs and layers with Python of their own do not compile; what ran on the example can be recorded.
        notes.append(
            f"the file was traced, not scripted: it has no train/eval switch, and may refuse batches other than {len(example)}"
        )
    for layer in module.modules():
        if isinstance(layer, BlurPool):
            # As a plain attribute the filter becomes a constant of the trace instead of a key of the state dict.
            kernel = layer._buffers.pop("kernel")
            layer.__dict__["kernel"] = kernel
    try:
        with torch.no_grad():
            traced: torch.jit.ScriptModule = torch.jit.trace(module, example, check_trace=False)
    except Exception as error:
        raise _not_stored(error, "try .pt2") from error
    return traced


def _exported(module: nn.Module, carried: Carried, example: Tensor, notes: list[str]) -> bytes:
    module = evaluating(independent(module))
    try:
        program, any_batch = exported(module, example)
    except Exception as error:
        message = f"the patched model cannot be exported: {first_line(error)}"
        raise PatchError(message, hint="write a .pt file") from error
    if not any_batch:
        notes.append(f"the file takes batches of exactly {len(example)}")
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={EXTRA_FILE: carried.to_json()})
    return buffer.getvalue()


def exported(module: nn.Module, example: Tensor) -> tuple[torch.export.ExportedProgram, bool]:
    """The module as a program, and whether that takes any batch, not the example's (N, C, H, W) alone."""
    several = example if len(example) > 1 else torch.cat([example, example])
    with suppress(Exception):
        batch = torch.export.Dim("batch", min=1)
        return torch.export.export(module, (several,), dynamic_shapes=({0: batch},)), True
    return torch.export.export(module, (example,)), False


def _onnx(module: nn.Module, carried: Carried, example: Tensor) -> bytes:
    assert isinstance(module, fx.GraphModule)
    from shiftaudit.surgery.onnx.write import onnx_bytes

    return onnx_bytes(module, carried.to_json(), example)


def _weights(state: dict[str, Any], carried: Carried, file_format: str) -> bytes:
    if file_format == STATE_DICT:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        return buffer.getvalue()
    with from_extra("safetensors", "safetensors", PatchError):
        from safetensors.torch import save
    data: bytes = save(state, metadata={"format": "pt", EXTRA_FILE: carried.to_json()})
    return data
