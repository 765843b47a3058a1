"""`shiftaudit score` and `shiftaudit demo`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli.progress import load, working
from shiftaudit.cli.run_audit import ImageOptions, run_audit
from shiftaudit.cli.takes import takes
from shiftaudit.cli.write_report import ReportOutputs
from shiftaudit.records.settings import ModelOptions, RunOptions, Settings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("score")(score)
    app.command("demo")(demo)


@takes
def score(
    *,
    model: opt.Model,
    images: ImageOptions,
    outputs: ReportOutputs,
    run: RunOptions,
    settings: Settings,
    options: ModelOptions,
    quiet: opt.Quiet = False,
) -> None:
    """Score MODEL on images under circular and cropping shifts: does its answer stay, and where do its features alias?"""
    from shiftaudit.models.source import check_source
    from shiftaudit.views.choices import check_settings

    check_settings(settings)
    images.check()
    check_source(model, options)
    with working("loading torch", quiet=quiet):
        from shiftaudit.audit.ranks import ranks
    settings = replace(settings, device=ranks().device(settings.device))
    loaded = load(model, options, device=settings.device, quiet=quiet)
    outputs.emit(run_audit(loaded, images, settings, quiet=quiet, options=run), images.paths)


@takes
def demo(
    outputs: ReportOutputs,
    antialiased: Annotated[
        bool, typer.Option("--antialiased", help="Score the twin that filters before it subsamples.")
    ] = False,
    quiet: opt.Quiet = False,
) -> None:
    """Score the bundled sample: a small trained network on 80 crops of real photographs. Needs no network access."""
    from shiftaudit import sample

    path = sample.antialiased_model_path() if antialiased else sample.model_path()
    images = ImageOptions((sample.images_path(),))
    # Every image is taken apart: the network is small, and eighty images are few.
    outputs.emit(run_audit(load(str(path), quiet=quiet), images, Settings(damage=1), quiet=quiet), images.paths)
