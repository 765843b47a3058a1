"""Nothing that a command reads is written over: one check of all its outputs against all its inputs, before any work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from shiftaudit.errors import InputError
from shiftaudit.files import check_writable

# The files that commands write, by the names of the parameters; all other paths are read.
_OUTPUTS = ("output_file", "html", "save_report", "samples", "checkpoint")
_OUTPUTS_OF = {"shiftaudit baseline update": ("baseline",)}
# A run goes on from the very file that it writes its state to.
_SAME_ALLOWED = {("checkpoint", "resume")}


def check_outputs(ctx: Any) -> None:
    """Make sure that every output of a command can be written, alone and over nothing that the command reads.

    Files are told apart by what they are on the disk, so that links and other spellings of a path are seen through.

    Raises:
        InputError: it names the output and what it is in the way of.
    """
    if ctx.params.get("dry_run"):
        return
    outputs = dict(_named_paths(ctx, written=True))
    for name, path in outputs.items():
        check_writable(path, force=name != "output_file" or ctx.params.get("force", True))
    taken: set[object] = set()
    for path in outputs.values():
        if (identity := _identity(path)) in taken and (not path.exists() or path.is_file()):
            raise InputError(f"two results would be written to {path}", hint="give each its own file")
        taken.add(identity)
    existing = {_identity(path): (name, path) for name, path in outputs.items() if path.is_file()}
    if not existing:
        return
    for name, path in _inputs(ctx):
        found = existing.get(_identity(path))
        if found is not None and (found[0], name) not in _SAME_ALLOWED:
            raise InputError(f"cannot write {found[1]}: it is read as {_shown(ctx, name)}", hint="choose another path")


def _named_paths(ctx: Any, *, written: bool) -> Iterator[tuple[str, Path]]:
    outputs = (*_OUTPUTS, *_OUTPUTS_OF.get(ctx.command_path, ()))
    for name, value in ctx.params.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        for one in values:
            if isinstance(one, (str, Path)) and one and (name in outputs) == written:
                yield name, Path(one)


def _inputs(ctx: Any) -> Iterator[tuple[str, Path]]:
    from shiftaudit.images.find import find_images
    from shiftaudit.models.source import is_file, is_folder, is_model_folder

    if getattr(ctx.obj, "path", None) is not None:
        yield "config", ctx.obj.path
    for name, path in _named_paths(ctx, written=False):
        if is_file(path):
            yield name, path
        elif is_model_folder(path):
            yield from ((name, file) for file in path.iterdir())
        elif is_folder(path):
            with suppress(InputError):
                yield from ((name, found) for found in {file.path for file in find_images(path)[0]})


def _identity(path: Path) -> object:
    """What the file is on the disk; its real path where there is none yet."""
    try:
        status = path.stat()
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


def _shown(ctx: Any, name: str) -> str:
    """A parameter as it stands on the help page."""
    parameter = next((one for one in ctx.command.params if one.name == name), None)
    if parameter is None:
        return f"--{name}"
    return str(parameter.metavar).strip("[].") if parameter.param_type_name == "argument" else str(parameter.opts[0])
