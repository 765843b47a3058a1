"""`shiftaudit sweep`: many models on the same images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli.progress import load, load_torch
from shiftaudit.cli.run_audit import ImageOptions, run_audit
from shiftaudit.cli.stderr import note, warn
from shiftaudit.cli.takes import but, takes
from shiftaudit.errors import InputError
from shiftaudit.records.settings import ModelOptions, Settings

if TYPE_CHECKING:
    from shiftaudit.records.leaderboard import Leaderboard
    from shiftaudit.records.report import AuditReport


@takes
def sweep(
    *,
    images: Annotated[
        ImageOptions,
        but(
            paths={
                "metavar": "MODEL... IMAGES",
                "help": "Names, files, or patterns such as 'resnet*' and 'timm:resnet*'; then the folder of images.",
            }
        ),
    ],
    output_file: Annotated[
        Path | None, opt.output("Write the table to this file, after every model: .csv, .html, .json or .txt.")
    ] = None,
    html: Annotated[Path | None, opt.output("Write one offline web page, too.", "--html")] = None,
    reports: Annotated[
        Path | None,
        typer.Option("--reports", help="Folder of the reports, which a stopped sweep goes on from [OUTPUT-reports]."),
    ] = None,
    settings: Settings,
    options: ModelOptions,
    quiet: opt.Quiet = False,
) -> None:
    """Score many models on the same images, and rank them. Started again, it goes on where it was stopped."""
    images, names = _apart(images)
    from shiftaudit.reports import board_format

    outputs = [path for path in (output_file, html) if path is not None]
    for path in outputs:
        board_format(path)
    folder = reports or (outputs[0].with_name(f"{outputs[0].stem}-reports") if outputs else Path("sweep-reports"))
    from shiftaudit.views.choices import check_settings

    check_settings(settings)
    images.check()
    board = _run(names, images, settings, options, folder, outputs, quiet=quiet)
    from shiftaudit.cli.write_report import print_report

    print_report(board, "table")
    if all(entry.failure is not None for entry in board.entries):
        raise InputError("none of the models could be scored")


def _apart(images: ImageOptions) -> tuple[ImageOptions, list[str]]:
    *models, last = images.paths
    if not models:
        raise InputError(f"{last} stands alone; expected models, and the folder of images after them")
    return replace(images, paths=(last,)), [str(model) for model in models]


def _run(
    names: list[str],
    images: ImageOptions,
    settings: Settings,
    options: ModelOptions,
    folder: Path,
    outputs: list[Path],
    *,
    quiet: bool,
) -> Leaderboard:
    load_torch(quiet=quiet)
    from shiftaudit.audit.sweep import Places
    from shiftaudit.audit.sweep import sweep as run
    from shiftaudit.models.patterns import expand
    from shiftaudit.reports import save_board

    models = expand(names, weights=options.weights)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror or error}") from error

    def score(model: str) -> AuditReport:
        return run_audit(load(model, options, device=settings.device, quiet=quiet), images, settings, quiet=quiet)

    def told(board: Leaderboard, model: str, was_there: bool) -> None:
        failure = next((entry.failure for entry in board.entries if entry.model == model), None)
        if failure is not None:
            warn(f"{model} failed: {failure}", quiet=quiet)
        else:
            counted = f"{len(board.entries)} of {len(models)}"
            note(f"{counted}: {model}{' was scored before' if was_there else ''}", quiet=quiet)
        for path in outputs:
            save_board(board, path)

    place = Places(folder, images.found[0], images.labels, settings, options)
    return run(models, score, place, told)
