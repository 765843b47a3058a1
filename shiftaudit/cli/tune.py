"""`shiftaudit tune`: teach a patched copy on unlabelled images to answer as its original does."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli import stdout
from shiftaudit.cli.memory import keep_memory
from shiftaudit.cli.progress import progress_bar
from shiftaudit.cli.run_audit import ImageOptions, warn_of_unusable
from shiftaudit.cli.stderr import say
from shiftaudit.cli.takes import but, only, takes
from shiftaudit.cli.teaching import Teacher, TeacherOptions, check_output, load_pair, save_copy
from shiftaudit.records.settings import Settings
from shiftaudit.records.tune import TuneSettings

if TYPE_CHECKING:
    from shiftaudit.models import LoadedModel
    from shiftaudit.tune.loop import TuneResult
    from shiftaudit.tune.training import Progress


_Images = Annotated[
    ImageOptions,
    but(
        labels={
            "default": "none",
            "help": "none, folder, auto or a CSV file of path,label: ordinary fine-tuning in addition.",
            "group": None,
        }
    ),
]


@takes
def tune(
    *,
    patched: Annotated[str, typer.Argument(metavar="PATCHED", help="The .pt or .pt2 file that `patch` wrote.")],
    teacher: Teacher,
    output_file: Annotated[Path | None, opt.output("The tuned copy: .pt or .pt2.")] = None,
    images: _Images,
    settings: TuneSettings,
    checkpoint: Annotated[
        Path | None, opt.output("Write the state to this file at every check.", "--checkpoint")
    ] = None,
    resume: Annotated[Path | None, typer.Option("--resume", help="Go on from a checkpoint.")] = None,
    force: opt.Force = False,
    printed: opt.Printed,
    options: TeacherOptions,
    where: Annotated[Settings, only("device")],
    quiet: opt.Quiet = False,
) -> None:
    """Win back what a patch cost, without labels: the original teaches the copy on your own images."""
    target, file_format = check_output(output_file, "TUNED.pt")
    images.check()
    copy, original = load_pair(patched, teacher, options, where.device, file_format, tunable=True, quiet=quiet)
    result = tune_copy(copy, original, images, settings, checkpoint=checkpoint, resume=resume, quiet=quiet)
    save_copy(result.model, target, file_format)
    _print(result, as_json=printed.as_json, quiet=quiet)


def tune_copy(
    copy: LoadedModel,
    original: LoadedModel,
    images: ImageOptions,
    settings: TuneSettings,
    *,
    checkpoint: Path | None = None,
    resume: Path | None = None,
    quiet: bool,
) -> TuneResult:
    """Teach a copy in place, with a bar of the steps and a line for every check; what was done and reached."""
    from shiftaudit.render.tune import check_line
    from shiftaudit.tune.loop import tune as run

    keep_memory()
    files, skipped = images.found
    warn_of_unusable(skipped, quiet=quiet)
    known = images.known_labels(copy, quiet=quiet).by_path
    with progress_bar(quiet=quiet, unit="steps", what="preparing") as bar:

        def observe(progress: Progress) -> None:
            if bar is not None:
                bar.update(progress.step, progress.steps, "tuning")
            if progress.check is not None and not quiet and sys.stderr.isatty():
                say(check_line(progress.check, progress.steps))

        return run(copy, original, files, settings, observe, labels=known, checkpoint=checkpoint, resume=resume)


def _print(result: TuneResult, *, as_json: bool, quiet: bool) -> None:
    from shiftaudit.render.tune import render_tune

    warn_of_unusable(result.skipped, quiet=quiet)
    stdout.show(result.record, partial(render_tune, result.record), as_json=as_json)
