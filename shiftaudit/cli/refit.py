"""`shiftaudit refit`: fit a patched copy to its original in closed form, on unlabelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli import stdout
from shiftaudit.cli.memory import keep_memory
from shiftaudit.cli.progress import progress_bar
from shiftaudit.cli.run_audit import ImageOptions, warn_of_unusable
from shiftaudit.cli.takes import only, takes, without
from shiftaudit.cli.teaching import Teacher, TeacherOptions, check_output, load_pair, save_copy
from shiftaudit.records.refit import RefitSettings
from shiftaudit.records.settings import Settings

if TYPE_CHECKING:
    from shiftaudit.models import LoadedModel
    from shiftaudit.tune.refit import RefitResult


@takes
def refit(
    *,
    patched: Annotated[str, typer.Argument(metavar="PATCHED", help="The file that `patch` wrote.")],
    teacher: Teacher,
    output_file: Annotated[Path | None, opt.output("The fitted copy: .pt or .pt2.")] = None,
    images: Annotated[ImageOptions, without("labels", limit={"help": "Use at most this many images."})],
    settings: RefitSettings,
    force: opt.Force = False,
    printed: opt.Printed,
    options: TeacherOptions,
    where: Annotated[Settings, only("device")],
    quiet: opt.Quiet = False,
) -> None:
    """Win back in a minute or two what a patch cost, without labels or gradients: layer by layer, in closed form."""
    target, file_format = check_output(output_file, "FITTED.pt")
    images.check()
    copy, original = load_pair(patched, teacher, options, where.device, file_format, quiet=quiet)
    result = fit(copy, original, images, settings, quiet=quiet)
    save_copy(result.model, target, file_format)
    _print(result, target, as_json=printed.as_json)


def fit(
    copy: LoadedModel, original: LoadedModel, images: ImageOptions, settings: RefitSettings, *, quiet: bool
) -> RefitResult:
    """The refit, with a progress bar, and a warning about files that cannot be used."""
    from shiftaudit.tune.refit import refit as run

    keep_memory()
    files, unusable = images.found
    with progress_bar(quiet=quiet, unit="batches", what="preparing") as bar:

        def observe(done: int, total: int, layer: str) -> None:
            if bar is not None:
                bar.update(done, total, f"fitting {layer}" if layer else "fitted")

        result = run(copy, original, files, settings, observe)
    warn_of_unusable([*unusable, *result.skipped], quiet=quiet)
    return result


def _print(result: RefitResult, output: Path, *, as_json: bool) -> None:
    from shiftaudit.render.refit import render_refit

    record = result.record
    stdout.show(record, lambda terminal: render_refit(record, output=str(output), terminal=terminal), as_json=as_json)
