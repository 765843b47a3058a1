"""The steps every command that scores a model shares: find pictures, read labels, load, score with a progress bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from shiftaudit.cli.progress import note, progress_bar, warn
from shiftaudit.records.report import AuditReport, Skipped

if TYPE_CHECKING:
    from shiftaudit.audit.run import RunOptions
    from shiftaudit.images.stream import ImageFile
    from shiftaudit.models import LoadedModel
    from shiftaudit.views.protocol import Settings


@dataclass(frozen=True)
class ImageOptions:
    """Which pictures, and what is known of them."""

    paths: Sequence[Path]
    labels: str = "auto"
    limit: int | None = None
    max_skipped: int | None = None

    @cached_property
    def found(self) -> tuple[list[ImageFile], list[Skipped]]:
        """The files, and what looked like one but cannot be; searched for once.

        Raises:
            InputError: there is no picture, or the limit is below 1.
        """
        from shiftaudit.images.find import find_images

        return find_images(list(self.paths), limit=self.limit)

    def check(self) -> None:
        """Look for the files now: a folder without pictures is to be told before a network is loaded."""
        _ = self.found


@dataclass(frozen=True)
class Pictures:
    """Files to score, and those that were found unusable on the way."""

    files: list[ImageFile]
    skipped: list[Skipped]
    labels: dict[str, int] = field(default_factory=dict)


def find_pictures(options: ImageOptions, model: LoadedModel, *, n_classes: int | None, quiet: bool) -> Pictures:
    """The files to score and their labels; a note on stderr says where labels came from, or why there are none."""
    from shiftaudit.images.labels import read_labels

    files, skipped = options.found
    labels = read_labels(options.labels, files, class_names=model.class_names, n_classes=n_classes)
    if labels.note:
        note(labels.note, quiet=quiet)
    return Pictures(files, skipped, dict(labels.by_path))


def run_audit(
    model: LoadedModel,
    images: ImageOptions,
    settings: Settings,
    *,
    quiet: bool = False,
    options: RunOptions | None = None,
) -> AuditReport:
    """Score `model` on the pictures and return the report; every process of a torchrun but the first ends here, with 0.

    Raises:
        InputError: nothing could be scored, or options exclude each other.
        ModelError: the model failed.
        ShiftAuditError: another process of a torchrun died or did not answer in time.
    """
    from shiftaudit.audit.audit import Audit
    from shiftaudit.audit.ranks import process_group, ranks
    from shiftaudit.audit.run import RunOptions, run

    options = replace(options or RunOptions(), max_skipped=images.max_skipped)
    here = ranks()
    quiet = quiet or not here.is_first
    with process_group(here):
        audit = Audit(model, settings, limit=images.limit)
        found = find_pictures(images, model, n_classes=audit.n_classes, quiet=quiet)
        with progress_bar(quiet=quiet) as bar:
            report = run(audit, found.files, found.labels, found.skipped, options, observer=bar, here=here)
    if report is None:
        raise typer.Exit(0)
    _warn_of_skipped(report, quiet=quiet)
    return report


def _warn_of_skipped(report: AuditReport, *, quiet: bool) -> None:
    skipped = report.data.skipped
    if skipped:
        first = f"{skipped[0].path}: {skipped[0].reason}"
        count = f"{len(skipped)} files were skipped, the first is" if len(skipped) > 1 else "1 file was skipped,"
        warn(f"{count} {first}", quiet=quiet)
