"""`shiftaudit refit`: fit a patched copy to its original in closed form, on unlabelled images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli import stdout
from shiftaudit.cli.memory import keep_memory
from shiftaudit.cli.progress import progress_bar
from shiftaudit.cli.run_audit import ImageOptions, warn_of_unusable
from shiftaudit.cli.takes import only, takes, without
from shiftaudit.cli.teaching import Teacher, TeacherOptions, load_pair, save_copy
from shiftaudit.errors import InputError
from shiftaudit.records.refit import RefitSettings
from shiftaudit.records.settings import ModelOptions, Settings

if TYPE_CHECKING:
    from shiftaudit.models import LoadedModel
    from shiftaudit.surgery.refit.walk import Observer
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
    if output_file is None:
        raise InputError("no output file was given", hint="name it with -o FITTED.pt")
    images.check()
    from shiftaudit.models.source import check_source

    check_source(patched, ModelOptions(trust=options.trust))
    check_source(teacher, options)
    from shiftaudit.models.archives import format_for

    file_format = format_for(output_file)
    copy, original = load_pair(patched, teacher, options, where.device, quiet=quiet)
    from shiftaudit.surgery.save import check_storable

    check_storable(copy.module, file_format)
    result = fit(copy, original, images, settings, quiet=quiet)
    save_copy(result.model, output_file, file_format)
    _print(result, output_file, as_json=printed.as_json)


def fit(
    copy: LoadedModel, original: LoadedModel, images: ImageOptions, settings: RefitSettings, *, quiet: bool
) -> RefitResult:
    """The refit, with a progress bar, and a warning about files that cannot be used."""
    from shiftaudit.tune.refit import refit as run

    keep_memory()
    files, unusable = images.found
    with _observer(quiet=quiet) as observer:
        result = run(copy, original, files, settings, observer)
    warn_of_unusable([*unusable, *result.skipped], quiet=quiet)
    return result


@contextmanager
def _observer(*, quiet: bool) -> Iterator[Observer | None]:
    with progress_bar(quiet=quiet, unit="batches", what="preparing") as bar:
        if bar is None:
            yield None
            return
        yield lambda done, total, layer: bar.update(done, total, f"fitting {layer}" if layer else "fitted")


def _print(result: RefitResult, output: Path, *, as_json: bool) -> None:
    from shiftaudit.render.refit import render_refit

    record = result.record
    stdout.show(record, lambda terminal: render_refit(record, output=str(output), terminal=terminal), as_json=as_json)
