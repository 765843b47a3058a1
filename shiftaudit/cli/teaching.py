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


def check_output(output: Path | None, example: str, file_format: str | None = None) -> tuple[Path, str]:
    """The file and its format; everything that can be wrong with the path is found before anything is loaded.

    Raises:
        InputError: there is none, and `example` is what one is called; or its name does not say what to write.
    """
    if output is None:
        raise InputError("no output file was given", hint=f"name it with -o {example}")
    from shiftaudit.models.archives import format_for

    return output, format_for(output, file_format)


def load_pair(
    name: str,
    teacher: str,
    options: ModelOptions,
    device: str,
    file_format: str,
    *,
    tunable: bool = False,
    quiet: bool,
) -> tuple[LoadedModel, LoadedModel]:
    """A copy, which the user named `name`, and its original, which sees images as the copy does.

    Raises:
        InputError: the copy carries no record of a patch, or its filters are folded; or it is to be `tunable` and is not.
        PatchError: it cannot be stored in the format.
    """
    from shiftaudit.models.source import check_source

    check_source(name, ModelOptions(trust=options.trust))
    check_source(teacher, options)
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
    from shiftaudit.surgery.save import check_storable

    check_storable(copy.module, file_format)
    return copy, replace(original, info=replace(original.info, preprocessing=copy.preprocessing))


def save_copy(model: LoadedModel, output: Path, file_format: str) -> tuple[str, ...]:
    """Write a copy with what it carries, and return what the user should know about the file."""
    from shiftaudit.models.carried import Carried
    from shiftaudit.surgery.save import save_model

    module = model.module.cpu()
    return save_model(output, module, Carried.of(model), file_format=file_format, example=model.random_input())
