"""Exported programs (`.pt2`): load one that is trusted, and read what it takes from its signature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from shiftaudit.errors import InputError, ModelError
from shiftaudit.models.carried import EXTRA_FILE, Carried
from shiftaudit.models.guard import silent
from shiftaudit.models.loaded import last_line

Loaded = tuple[nn.Module, Carried, tuple[int | None, ...]]
"""A program's module, its own word on itself, and its input's (N, C, H, W) with None where any size goes."""


def load_exported(path: Path, *, trust: bool, device: str) -> Loaded:
    """An exported program on `device`.

    Raises:
        InputError: the user did not say that the file is trusted; loading one can run Python.
        ModelError: the file is damaged, or the program does not take one batch of images.
    """
    if not trust:
        raise InputError(
            f"{path} is an exported program, and loading one can run Python code",
            hint="add --trust if you know where the file comes from",
        )
    import torchvision  # noqa: F401  # whose operations the program may hold

    extra: dict[str, Any] = {EXTRA_FILE: ""}
    try:
        with silent("torch.export", "torch.export.pt2_archive._package"):
            program = torch.export.load(path, extra_files=extra)
        if device != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        module = program.module()
    except Exception as error:
        raise ModelError(
            f"{path} cannot be loaded as an exported program: {type(error).__name__}: {last_line(error)}",
            hint="it may be damaged, or from another version of torch",
        ) from error
    return module, Carried.from_json(extra[EXTRA_FILE], path), _input_shape(program, path)


def _input_shape(program: torch.export.ExportedProgram, path: Path) -> tuple[int | None, ...]:
    inputs = set(program.graph_signature.user_inputs)
    values = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]
    if len(values) != 1 or not isinstance(values[0], torch.Tensor) or values[0].dim() != 4:
        raise ModelError(f"{path} takes {len(values)} inputs; expected one batch of images (N, C, H, W)")
    return tuple(side if isinstance(side, int) else None for side in values[0].shape)
