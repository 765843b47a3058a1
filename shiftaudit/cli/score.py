"""`shiftaudit score` and `shiftaudit demo`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli.progress import load, working
from shiftaudit.cli.run_audit import ImageOptions, run_audit
from shiftaudit.cli.stderr import note
from shiftaudit.cli.takes import takes
from shiftaudit.cli.write_report import ReportOutputs
from shiftaudit.errors import InputError
from shiftaudit.records.settings import ModelOptions, RunOptions, Settings

if TYPE_CHECKING:
    from shiftaudit.models import LoadedModel
    from shiftaudit.records.against import Against
    from shiftaudit.records.report import AuditReport


@takes
def score(
    *,
    model: opt.Model,
    images: ImageOptions,
    outputs: ReportOutputs,
    run: RunOptions,
    settings: Settings,
    options: ModelOptions,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            help="Another form of MODEL, such as a converted file: does it give the same answers to the same views?",
            metavar="MODEL",
            rich_help_panel="Model",
        ),
    ] = None,
    quiet: opt.Quiet = False,
) -> None:
    """Measure how often MODEL changes its answer when images move, why it does, and at which stage of the network."""
    from shiftaudit.views.choices import check_settings

    check_settings(settings)
    images.check()
    if against is not None:
        from shiftaudit.models.source import check_source

        check_source(against, ModelOptions())
        if run.shard is not None:
            raise InputError("--against compares whole runs", hint="leave out --shard")
    from shiftaudit.audit.ranks import ranks

    settings = replace(settings, device=ranks().device(settings.device))
    loaded = load(model, options, device=settings.device, quiet=quiet)
    report = run_audit(loaded, images, settings, quiet=quiet, options=run)
    if against is not None:
        report = replace(report, against=_against(loaded, against, report, images, settings, options, quiet=quiet))
    outputs.emit(report, images.paths)


def _against(
    model: LoadedModel,
    source: str,
    report: AuditReport,
    images: ImageOptions,
    settings: Settings,
    options: ModelOptions,
    *,
    quiet: bool,
) -> Against:
    """How the model of `source` answers the views of the images that were scored, prepared as `model` wants them."""
    from shiftaudit.audit.against import answer_against

    used = model.preprocessing
    alike = ModelOptions(
        size=used.size, resize=used.resize, mean=used.mean, std=used.std, interpolation=used.interpolation,
        channels=used.channels, trust=options.trust, seed=options.seed,
    )  # fmt: skip
    other = load(source, alike, device=settings.device, quiet=quiet)
    scored = {image.path for image in report.per_image}
    files = [file for file in images.found[0] if file.relative in scored]
    with working(f"comparing with {other.info.source}", quiet=quiet):
        return answer_against(model, other, files, settings)


@takes
def demo(
    outputs: ReportOutputs,
    antialiased: Annotated[
        bool, typer.Option("--antialiased", help="Score the twin that filters before it subsamples.")
    ] = False,
    copy: Annotated[
        Path | None,
        typer.Option("--copy", help="Put the sample's model and images into this folder, too.", metavar="FOLDER"),
    ] = None,
    quiet: opt.Quiet = False,
) -> None:
    """Score the bundled sample: a small trained network on 80 crops of real photographs. Needs no network access."""
    from shiftaudit import sample

    path = sample.antialiased_model_path() if antialiased else sample.model_path()
    images = ImageOptions((sample.images_path(),))
    if copy is None:
        note("`shiftaudit demo --copy .` puts the model and the images here, for the other commands", quiet=quiet)
    else:
        _copy((path, sample.images_path()), copy)
    # Every image is taken apart: the network is small, and eighty images are few.
    outputs.emit(run_audit(load(str(path), quiet=quiet), images, Settings(damage=1), quiet=quiet), images.paths)


def _copy(sources: Iterable[Path], folder: Path) -> None:
    """Copy files and folders into a folder, made where it is not there.

    Raises:
        InputError: one of them is there already, or cannot be written.
    """
    import shutil

    targets = [(source, folder / source.name) for source in sources]
    for _, target in targets:
        if target.exists():
            raise InputError(f"{target} exists already", hint="give another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source, target in targets:
            (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
    except OSError as error:
        raise InputError(f"cannot copy to {folder}: {error.strerror}") from error
