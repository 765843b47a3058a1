"""Open an ONNX file as the data that it is: its graph, its weights, and what its input must look like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shiftaudit.errors import InputError, ModelError
from shiftaudit.files import sha256_of
from shiftaudit.models.carried import EXTRA_FILE, Carried

INSTALL_HINT = "pip install 'shiftaudit[onnx]'"
_FLOATS = (1, 10, 11)
"""FLOAT, FLOAT16 and DOUBLE, as `onnx.TensorProto` numbers them."""


class Unreadable(Exception):  # noqa: N818 - it is no error: the file is scored for its answers alone
    """Something in a graph has no meaning here; the message says what."""


@dataclass(frozen=True)
class OnnxFile:
    """A file that was opened."""

    model: Any
    """The `onnx.ModelProto`, with all weights."""
    input_name: str
    shape: tuple[int | None, ...]
    """(N, C, H, W), None where any size goes."""
    carried: Carried
    sha256: str
    """Of the file and, in order, of the files that hold its weights."""


def open_onnx(path: Path) -> OnnxFile:
    """Read a file, and the weights that lie beside it.

    Raises:
        InputError: the extra is not installed, the weights lie outside the file's folder, or it takes no image (N, C, H, W).
        ModelError: it is damaged.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise InputError(f"{path} needs onnx and onnxruntime ({error})", hint=INSTALL_HINT) from error
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf has its own kind for each of its implementations
        raise ModelError(f"{path} is a damaged ONNX file: {error}", hint="copy or export it again") from error
    if not model.graph.node:
        raise ModelError(f"{path} is no ONNX model, or an empty one", hint="copy or export it again")
    outside = list(dict.fromkeys(_external(model, path)))
    if outside:
        try:
            onnx.load_external_data_for_model(model, str(path.parent))
        except Exception as error:
            raise ModelError(f"the weights beside {path} cannot be read: {error}") from error
    name, shape = _input(model, path)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    carried = Carried.from_json(properties.get(EXTRA_FILE), path)
    return OnnxFile(model, name, shape, carried, sha256_of(path, *outside))


def _external(model: Any, path: Path) -> Iterator[Path]:
    """The files that hold weights, each of them inside the model's folder: a model is data, and reads nothing else."""
    from onnx.external_data_helper import _get_all_tensors, uses_external_data

    folder = path.parent.resolve()
    for tensor in _get_all_tensors(model):
        if not uses_external_data(tensor):
            continue
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        file = (folder / location).resolve()
        if not location or Path(location).is_absolute() or not file.is_relative_to(folder):
            raise InputError(f"{path} wants to read weights from {location!r}, outside its own folder")
        if not file.is_file():
            raise InputError(f"{path} keeps its weights in {location}, which is not there", hint="copy both files")
        yield file


def _input(model: Any, path: Path) -> tuple[str, tuple[int | None, ...]]:
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    if len(inputs) != 1:
        raise ModelError(f"{path} takes {len(inputs)} inputs; expected one batch of images (N, C, H, W)")
    kind = inputs[0].type.tensor_type
    shape = tuple(dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim)
    if len(shape) != 4 or kind.elem_type not in _FLOATS:
        raise ModelError(f"{path} takes {_sizes(shape)}; expected float images (N, C, H, W)")
    if shape[1] not in (None, 1, 3):
        last = shape[3] in (1, 3)
        hint = "its channels come last: export it with channels first, or wrap it in a runner" if last else None
        raise InputError(f"{path} takes images {_sizes(shape)}; expected 1 or 3 channels (N, C, H, W)", hint=hint)
    return inputs[0].name, shape


def _sizes(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if side is None else str(side) for side in shape) + ")"
