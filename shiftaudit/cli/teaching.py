"""What `refit` and `tune` share: a patched copy, the original that teaches it, and how both are loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftaudit.cli.progress import load
from shiftaudit.cli.takes import only
from shiftaudit.errors import InputError
from shiftaudit.records.settings import ModelOptions

if TYPE_CHECKING:
    from shiftaudit.models import LoadedModel

Teacher = Annotated[str, typer.Option("--teacher", help="The original it was made from: a file or a name.")]
TeacherOptions = Annotated[
    ModelOptions,
    only(
        "weights",
        "arch",
        "trust",
        "seed",
        weights={"help": "Weights of the teacher, where it is a name.", "group": None},
        arch={"help": "Network of the teacher, where it is a state dict.", "group": None},
    ),
]


def load_pair(
    name: str, teacher: str, options: ModelOptions, device: str, *, tunable: bool = False, quiet: bool
) -> tuple[LoadedModel, LoadedModel]:
    """A copy, which the user named `name`, and its original, which sees images as the copy does.

    Raises:
        InputError: the copy carries no record of a patch, or its filters are folded; or it is to be `tunable` and is not.
    """
    copy = load(name, ModelOptions(trust=options.trust), device=device, quiet=quiet)
    if tunable and copy.info.kind not in ("torchscript", "pt2"):
        raise InputError(
            f"{name} is a {copy.info.kind} model; only TorchScript and .pt2 files can be tuned",
            hint="patch to a .pt file",
        )
    if copy.patch_record is None:
        raise InputError(
            f"{name} carries no record of a patch", hint="make it with shiftaudit patch MODEL -o PATCHED.pt"
        )
    if copy.patch_record.folded:
        raise InputError(
            f"filters of {name} are folded into its weights, so it can no longer be fitted",
            hint="fit before folding: shiftaudit patch MODEL -o OUT --refit IMAGES --fold",
        )
    original = load(teacher, options, device=device, quiet=quiet)
    return copy, replace(original, info=replace(original.info, preprocessing=copy.preprocessing))


def save_copy(model: LoadedModel, output: Path, file_format: str) -> None:
    """Write a copy that was taught, with what it carries."""
    from shiftaudit.models.carried import Carried
    from shiftaudit.surgery.save import save_model

    example = model.example_input(model.fixed_batch or 1)
    save_model(output, model.module.cpu(), Carried.of(model), file_format=file_format, example=example)
