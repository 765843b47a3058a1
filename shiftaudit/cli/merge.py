"""`shiftaudit merge`: the report of a run that was scored in shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli.progress import warn
from shiftaudit.cli.takes import takes, without
from shiftaudit.cli.write_report import ReportOutputs


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("merge")(merge)


@takes
def merge(
    samples: Annotated[list[Path], typer.Argument(metavar="SAMPLES...", help="Files written by `score --samples`.")],
    outputs: Annotated[ReportOutputs, without("no_images")],
    quiet: opt.Quiet = False,
) -> None:
    """Put the samples files of all shards of a run together to the report that one process would have written."""
    outputs.check()
    from shiftaudit.audit import shards as sharding
    from shiftaudit.audit.audit import summarise

    header, lines, warnings = sharding.merge(samples)
    for warning in warnings:
        warn(warning, quiet=quiet)
    outputs.emit(summarise(header, lines))
