"""The steps every command that scores a model shares: find images, read labels, load, score with a progress bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from shiftaudit.cli.stderr import note, warn
from shiftaudit.records.options import Checked, option
from shiftaudit.records.report import AuditReport, Skipped

if TYPE_CHECKING:
    from shiftaudit.images.file import ImageFile
    from shiftaudit.images.labels import Labels
    from shiftaudit.models import LoadedModel
    from shiftaudit.records.settings import RunOptions, Settings


@dataclass(frozen=True)
class ImageOptions(Checked):
    """Which images, and what is known of them."""

    paths: tuple[Path, ...] = option(
        help="Folders of images, archives (.tar, .zip, .parquet), or images.",
        flag="images",
        metavar="IMAGES...",
        argument=True,
    )
    labels: str = option("auto", "auto, folder, none, or a CSV file of path,label.", group="Images")
    limit: int | None = option(None, "Score at most this many images.", group="Images", least=1)

    @cached_property
    def found(self) -> tuple[list[ImageFile], list[Skipped]]:
        """The files, and what looked like one but cannot be; searched for once.

        Raises:
            InputError: there is no image.
        """
        from shiftaudit.images.find import find_images

        return find_images(self.paths, limit=self.limit)

    def check(self) -> None:
        """Look for the files now: what is missing is to be told before a network is loaded.

        Raises:
            InputError: there is no image, or the CSV file of labels cannot be read.
        """
        from shiftaudit.images.labels import AUTO, FOLDER, NONE, table_rows

        _ = self.found
        if self.labels not in (AUTO, FOLDER, NONE):
            for _ in table_rows(Path(self.labels)):
                pass

    def known_labels(self, model: LoadedModel, *, n_classes: int | None = None, quiet: bool) -> Labels:
        """Classes by relative path; a note on stderr, once for all models, says where they came from, or why there are none."""
        from shiftaudit.images.labels import read_labels

        labels = read_labels(self.labels, self.found[0], class_names=model.class_names, n_classes=n_classes)
        if labels.note and labels.note not in self._told:
            note(labels.note, quiet=quiet)
            self._told.add(labels.note)
        return labels

    @cached_property
    def _told(self) -> set[str]:
        return set()


def run_audit(
    model: LoadedModel,
    images: ImageOptions,
    settings: Settings,
    *,
    quiet: bool = False,
    options: RunOptions | None = None,
) -> AuditReport:
    """Score `model` on the images and return the report; every process of a torchrun but the first ends here, with 0.

    Raises:
        InputError: nothing could be scored, or options exclude each other.
        ModelError: the model failed.
        ShiftAuditError: another process of a torchrun died or did not answer in time.
    """
    from shiftaudit.audit.audit import Audit
    from shiftaudit.audit.ranks import process_group, ranks
    from shiftaudit.audit.run import run
    from shiftaudit.cli.progress import progress_bar, working
    from shiftaudit.gate.comparable import taught_warnings

    here = ranks()
    quiet = quiet or not here.is_first
    with process_group(here):
        with working("following the network", quiet=quiet):
            audit = Audit(model, settings, limit=images.limit)
        files, skipped = images.found
        labels = images.known_labels(model, n_classes=audit.n_classes, quiet=quiet)
        audit.name_classes(labels.class_names)
        if model.class_names is not None and len(model.class_names) != audit.n_classes:
            counted = f"{len(model.class_names)} class names for {audit.n_classes} classes"
            warn(f"{counted}; check --classes", quiet=quiet)
        with progress_bar(quiet=quiet) as bar:
            report = run(audit, files, dict(labels.by_path), skipped, options, observer=bar, here=here)
    if report is None:
        raise typer.Exit(0)
    _warn_of_skipped(report, quiet=quiet)
    for warning in taught_warnings((report.model, [image.id for image in report.per_image])):
        warn(warning, quiet=quiet)
    return report


def warn_of_unusable(files: Sequence[Skipped], *, quiet: bool) -> None:
    """Say how many files a command that fits or searches goes without, and why."""
    if files:
        warn(f"{len(files)} files cannot be used; the first is {files[0].path}: {files[0].reason}", quiet=quiet)


def _warn_of_skipped(report: AuditReport, *, quiet: bool) -> None:
    skipped = report.data.skipped
    if skipped:
        first = f"{skipped[0].path}: {skipped[0].reason}"
        count = f"{len(skipped)} files were skipped, the first is" if len(skipped) > 1 else "1 file was skipped,"
        warn(f"{count} {first}", quiet=quiet)
