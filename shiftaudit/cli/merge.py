"""`shiftaudit merge`: the report of a run that was scored in shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli.stderr import warn
from shiftaudit.cli.takes import takes, without
from shiftaudit.cli.write_report import ReportOutputs


@takes
def merge(
    parts: Annotated[list[Path], typer.Argument(metavar="SAMPLES...", help="Files written by `score --samples`.")],
    outputs: Annotated[ReportOutputs, without("no_images")],
    quiet: opt.Quiet = False,
) -> None:
    """Join the samples files of all shards of a run into the report that one process would have written."""
    from shiftaudit.audit import shards as sharding

    header, lines, warnings = sharding.merge(parts)
    for warning in warnings:
        warn(warning, quiet=quiet)
    from shiftaudit.audit.summary import summarise

    outputs.emit(summarise(header, lines))
