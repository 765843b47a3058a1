"""`shiftaudit baseline save | show | update`."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli import stdout
from shiftaudit.cli.command import App
from shiftaudit.cli.stderr import say

DEFAULT_TARGET = Path("baseline.json")


baseline = App(no_args_is_help=True, help="Make, look at and move the baseline that the gate judges against.")


@baseline.command()
def save(
    report: opt.Report,
    output_file: Annotated[Path, opt.output("The baseline to write.")] = DEFAULT_TARGET,
    force: Annotated[bool, typer.Option("--force", help="Replace a baseline that exists.")] = False,
) -> None:
    """Make a baseline from REPORT: per-image counts, sorted and rounded, one line per image."""
    from shiftaudit.files import write_text_atomically
    from shiftaudit.gate.baseline import baseline_text, savable
    from shiftaudit.records.reading import read_report

    baseline = savable(read_report(report))
    write_text_atomically(output_file, baseline_text(baseline))
    images = f"{len(baseline.images)} images, protocol {baseline.protocol.protocol_hash}"
    say(f"wrote {output_file}: {images}; this measurement is its anchor, which updates keep")


@baseline.command()
def show(
    baseline: Annotated[
        Path, typer.Argument(metavar="BASELINE.json", help="A baseline, or a report.")
    ] = DEFAULT_TARGET,
    format: Annotated[str, opt.form("table", "json", help="table or json (without the images).")] = "table",
) -> None:
    """Show what a baseline holds."""
    from shiftaudit.gate.baseline import read_baseline
    from shiftaudit.render.baseline import render_baseline

    stdout.deliver(partial(render_baseline, read_baseline(baseline), format), None, utf8=format == "json")


@baseline.command()
def update(
    report: opt.Report,
    baseline: Annotated[Path, typer.Option("--baseline", "-b", help="The baseline to replace.")] = DEFAULT_TARGET,
    force: Annotated[bool, typer.Option("--force", help="Update even in CI.")] = False,
    accept_drop: Annotated[
        bool, typer.Option("--accept-drop", help="Update although the new baseline is surely lower.")
    ] = False,
    re_anchor: Annotated[
        bool, typer.Option("--re-anchor", help="Make REPORT the anchor too: all drops since the old one are forgotten.")
    ] = False,
) -> None:
    """Replace an existing baseline by REPORT's and keep its anchor, after showing what changes. Refused in CI without --force."""
    from shiftaudit.files import write_text_atomically
    from shiftaudit.gate.anchor import anchored_by, first_measurement
    from shiftaudit.gate.baseline import baseline_text, read_baseline, refuse_in_ci, savable
    from shiftaudit.gate.drops import require_no_sure_drop
    from shiftaudit.records.reading import read_report
    from shiftaudit.render.baseline import changes
    from shiftaudit.render.terminal import detect, plain_lines

    refuse_in_ci(os.environ, force=force)
    new = savable(read_report(report))
    old = read_baseline(baseline)
    stdout.write(plain_lines(changes(old, new), detect(sys.stdout)))
    if not accept_drop:
        require_no_sure_drop(new, old)
    first = first_measurement(old).model.source
    write_text_atomically(baseline, baseline_text(new if re_anchor else anchored_by(new, old)))
    say(
        f"updated {baseline}: its anchor is now this measurement instead of that of {first}"
        if re_anchor
        else f"updated {baseline}; its anchor is still the measurement of {first}"
    )
