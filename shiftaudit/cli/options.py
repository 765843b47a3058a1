"""Arguments and options that several commands share and that belong to no record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from shiftaudit.errors import InputError
from shiftaudit.files import path_to_write, suffix_of
from shiftaudit.records.options import Checked, Option, check_value, in_words, option

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A torchvision name (resnet50), timm:NAME, hf:ORG/NAME, package.module:callable, a TorchScript, .pt2, .onnx, "
        ".safetensors or state-dict file, or a Hugging Face folder.",
    ),
]
Report = Annotated[Path, typer.Argument(metavar="REPORT.json", help="A report written by `shiftaudit score -o`.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no warnings on stderr.", rich_help_panel="Running")
]
Force = Annotated[bool, typer.Option("--force", help="Replace the output file if it exists.")]


@dataclass(frozen=True)
class Printed(Checked):
    """How a command that has a record of what it did prints it."""

    format: str = option("table", "table or json.", flag="--format -f", choices=("table", "json"))
    json: bool = option(False, "The same as --format json.")

    @property
    def as_json(self) -> bool:
        """Whether a program will read it."""
        return self.json or self.format == "json"


def output(help: str, *names: str) -> Any:
    """A file that a command writes, `--output-file` where it has no other name."""
    return typer.Option(*(names or ("--output-file", "-o")), help=help, metavar="PATH", parser=path_to_write)


_KINDS = {".json": "json", ".md": "markdown", ".txt": "table", ".xml": "junit"}


def kind_of(given: str | None, path: Path | None, formats: Sequence[str]) -> str:
    """What a command writes: what was asked for, else what its file's name says, else a table.

    Raises:
        InputError: nothing was asked for, and the name says nothing.
    """
    if given is not None or path is None or (path.exists() and not path.is_file()):
        return given or "table"
    kinds = {suffix: kind for suffix, kind in _KINDS.items() if kind in formats}
    if suffix_of(path) not in kinds:
        raise InputError(f"cannot tell what to write into {path}", hint=f"end its name in {in_words(tuple(kinds))}")
    return kinds[suffix_of(path)]


def form(*formats: str, help: str | None = None) -> Any:
    """`--format`, one of these, which the help lists where it says nothing else."""
    return typer.Option("--format", "-f", help=help or f"{in_words(formats)}.", callback=_one_of(formats))


def _one_of(choices: tuple[str, ...]) -> Callable[[typer.Context, typer.CallbackParam, str | None], str | None]:
    def check(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> str | None:
        if value is not None and not context.resilient_parsing:
            check_value("--format", value, Option("", choices=choices))
        return value

    return check
