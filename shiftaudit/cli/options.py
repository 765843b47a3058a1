"""Arguments and options that several commands share and that belong to no record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from shiftaudit.files import path_to_write
from shiftaudit.records.options import Option, check_value

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A torchvision name (resnet50), timm:NAME, package.module:callable, or a TorchScript, .pt2, .safetensors "
        "or state-dict file.",
    ),
]
Report = Annotated[Path, typer.Argument(metavar="REPORT.json", help="A report written by `shiftaudit score -o`.")]
Json = Annotated[bool, typer.Option("--json", help="Print the record as JSON.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no warnings on stderr.", rich_help_panel="Running")
]


def output(help: str, *names: str) -> Any:
    """A file that a command writes, `--output-file` where it has no other name."""
    return typer.Option(*(names or ("--output-file", "-o")), help=help, metavar="PATH", parser=path_to_write)


def form(*formats: str, help: str) -> Any:
    """`--format`, one of these."""
    return typer.Option("--format", "-f", help=help, callback=_one_of(formats))


def _one_of(choices: tuple[str, ...]) -> Callable[[typer.Context, typer.CallbackParam, str], str]:
    def check(context: typer.Context, parameter: typer.CallbackParam, value: str) -> str:
        if not context.resilient_parsing:
            check_value("--format", value, Option("", choices=choices))
        return value

    return check
