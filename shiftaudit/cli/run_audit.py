"""The steps every command that scores a model shares: find pictures, read labels, load, score with a progress bar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from shiftaudit.cli.progress import note, progress_bar
from shiftaudit.errors import InputError
from shiftaudit.records.report import AuditReport, Skipped

if TYPE_CHECKING:
    from shiftaudit.audit import Audit
    from shiftaudit.images import ImageFile
    from shiftaudit.models import LoadedModel
    from shiftaudit.protocol import Settings
    from shiftaudit.samples import Line


@dataclass(frozen=True)
class ImageOptions:
    """Which pictures, and what is known of them."""

    paths: Sequence[Path]
    labels: str = "auto"
    limit: int | None = None
    max_skipped: int | None = None


@dataclass(frozen=True)
class Pictures:
    """Files to score, and those that were found unusable on the way."""

    files: list[ImageFile]
    skipped: list[Skipped]
    labels: dict[str, int] = field(default_factory=dict)


def find_pictures(options: ImageOptions, model: LoadedModel, *, n_classes: int | None, quiet: bool) -> Pictures:
    """The files to score and their labels; a note on stderr says where labels came from, or why there are none."""
    from shiftaudit.images import find_images
    from shiftaudit.labels import read_labels

    if options.limit is not None and options.limit < 1:
        raise InputError(f"--limit got {options.limit}; expected at least 1")
    files, skipped = find_images(list(options.paths), limit=options.limit)
    labels = read_labels(options.labels, files, class_names=model.class_names, n_classes=n_classes)
    if labels.note:
        note(labels.note, quiet=quiet)
    return Pictures(files, skipped, dict(labels.by_path))


def run_audit(
    model: LoadedModel, images: ImageOptions, settings: Settings, *, quiet: bool = False, samples: Path | None = None
) -> AuditReport:
    """Score `model` on the pictures and return the report.

    Raises:
        InputError: nothing could be scored, or more than `max_skipped` files were skipped.
        ModelError: the model failed.
    """
    from shiftaudit.audit import Audit, summarise

    run = Audit(model, settings, limit=images.limit)
    pictures = find_pictures(images, model, n_classes=run.n_classes, quiet=quiet)
    lines: list[Line] = list(pictures.skipped)
    with progress_bar(quiet=quiet) as bar, closing(run.lines(pictures.files, pictures.labels, bar)) as scored:
        for line in _kept(scored, run, samples, list(lines)):
            lines.append(line)
            _check_skipped(lines, images.max_skipped)
    return summarise(run.header, lines)


def _kept(scored: Iterator[Line], run: Audit, samples: Path | None, before: list[Line]) -> Iterator[Line]:
    """Pass the lines on, and write them to the samples file where one was asked for."""
    if samples is None:
        yield from scored
        return
    from shiftaudit.samples import SamplesWriter

    writer = SamplesWriter(samples, run.header, lines=before)
    try:
        for line in scored:
            writer.write(line)
            yield line
        writer.commit()
    finally:
        writer.close()


def _check_skipped(lines: Sequence[Line], allowed: int | None) -> None:
    if allowed is None:
        return
    skipped = [line for line in lines if isinstance(line, Skipped)]
    if len(skipped) > allowed:
        last = skipped[-1]
        raise InputError(
            f"{len(skipped)} files were skipped, more than --max-skipped {allowed}; the last is {last.path}: {last.reason}"
        )
