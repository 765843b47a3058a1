"""Tell what a file holds from the members of its zip archive, before anything in it is loaded.

Trying one loader after the other would sooner or later run a pickle; looking at names runs nothing.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Final, Literal, get_args

from shiftaudit.errors import InputError, PatchError

FileKind = Literal["torchscript", "pt2", "onnx", "state-dict", "safetensors"]
TORCHSCRIPT: Final = "torchscript"
PT2: Final = "pt2"
STATE_DICT: Final = "state-dict"
SAFETENSORS: Final = "safetensors"
ONNX: Final = "onnx"
FORMATS: tuple[FileKind, ...] = get_args(FileKind)
_BY_SUFFIX: dict[str, FileKind] = {
    ".pt": TORCHSCRIPT,
    ".pth": TORCHSCRIPT,
    ".ts": TORCHSCRIPT,
    ".pt2": PT2,
    ".onnx": ONNX,
    ".safetensors": SAFETENSORS,
}

# What zipfile raises on archives that were made to confuse it.
_UNREADABLE = (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError, zlib.error)


def kind_of(path: Path) -> FileKind:
    """`torchscript`, `pt2`, `safetensors`, `onnx` by its suffix, or `state-dict` for whatever else `torch.save` may have written.

    Raises:
        InputError: the file is missing, empty, unreadable or a damaged archive.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    if size == 0:
        raise InputError(f"{path} is empty; expected a model file")
    if path.suffix.lower() == ".onnx":
        return ONNX
    if path.suffix == ".safetensors" or _is_safetensors(head, size):
        return SAFETENSORS
    if not zipfile.is_zipfile(path):
        if head[:2] == b"PK":
            raise _damaged(path, "its archive is cut short")
        return STATE_DICT
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.split("/", 1)[-1] for name in archive.namelist()]
            # PyTorch itself reads tensors without comparing them with their checksums.
            damaged = archive.testzip()
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    if damaged is not None:
        raise _damaged(path, f"the checksum of {damaged} is wrong")
    exported = ("archive_format", "serialized_exported_program.json")  # the second until torch 2.7
    if any(name in exported or (name.startswith("models/") and name.endswith(".json")) for name in names):
        return PT2
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return TORCHSCRIPT
    if "data.pkl" in names:
        return STATE_DICT
    raise InputError(
        f"{path} is a zip archive, but not of a model: no TorchScript code, exported program or tensors in it",
        hint="save the model with torch.jit.save, torch.export.save or torch.save(model.state_dict(), …)",
    )


def _damaged(path: Path, why: object) -> InputError:
    return InputError(f"{path} is a damaged model file: {why}", hint="copy or download it again")


def _is_safetensors(head: bytes, size: int) -> bool:
    """A safetensors file begins with the length of a JSON header, 8 bytes little-endian, and the header's brace."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8


def format_for(path: Path, chosen: str | None = None) -> str:
    """The format of a file: the one chosen, or the one its suffix stands for.

    >>> format_for(Path("aa.pt")), format_for(Path("aa.pt"), "state-dict")
    ('torchscript', 'state-dict')

    Raises:
        PatchError: no format was chosen and the suffix says nothing.
    """
    if chosen is not None:
        if chosen not in FORMATS:
            raise PatchError(f"unknown format {chosen!r}", hint=f"use one of {', '.join(FORMATS)}")
        return chosen
    try:
        return _BY_SUFFIX[path.suffix.lower()]
    except KeyError:
        known = ", ".join(_BY_SUFFIX)
        raise PatchError(f"the suffix of {path.name} does not say what to write", hint=f"use {known}") from None
