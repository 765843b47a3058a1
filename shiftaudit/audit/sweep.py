"""Many models on the same images. Each report is a file, so that a sweep that was stopped goes on where it was."""

from __future__ import annotations

import gc
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from shiftaudit.errors import ShiftAuditError, first_line
from shiftaudit.files import sha256_of, write_text_atomically
from shiftaudit.images.file import ImageFile
from shiftaudit.models.source import is_model_folder
from shiftaudit.records.codec import dumps
from shiftaudit.records.leaderboard import Entry, Leaderboard, entry_of, ranked
from shiftaudit.records.reading import read_report
from shiftaudit.records.report import AuditReport
from shiftaudit.records.settings import ModelOptions, Settings
from shiftaudit.version import __version__

_SLUG = 60
_KEY = 12


def sweep(
    models: Sequence[str],
    score: Callable[[str], AuditReport],
    place: Callable[[str], Path],
    told: Callable[[Leaderboard, str, bool], None],
) -> Leaderboard:
    """Score each model, or read its report where an earlier sweep wrote it; a model that fails does not stop the others.

    Args:
        models: names and files.
        score: makes a model's report.
        place: where a model's report is kept; see `Places`.
        told: called after each model with what is known so far, its name, and whether its report was read.
    """
    entries: list[Entry] = []
    for model in models:
        path = place(model)
        was_there = path.exists()
        entries.append(entry_of(read_report(path), model) if was_there else _scored(model, score, path))
        told(ranked(entries), model, was_there)
    return ranked(entries)


def _scored(model: str, score: Callable[[str], AuditReport], path: Path) -> Entry:
    try:
        report = score(model)
    except ShiftAuditError as error:
        return Entry(model, failure=str(error))
    except Exception as error:  # whatever one network does, the others are still to be scored
        return Entry(model, failure=f"{type(error).__name__}: {first_line(error)}")
    finally:
        gc.collect()  # the network before the next is loaded
    write_text_atomically(path, dumps(report))
    return entry_of(report, model)


class Places:
    """Where reports are kept: under a name that says all that a report depends on, so that none is taken for another's.

    Files count by their bytes: the images, a model's, its weights', the labels'.
    """

    def __init__(
        self, folder: Path, files: Sequence[ImageFile], labels: str, settings: Settings, options: ModelOptions
    ) -> None:
        self._folder = folder
        # How fast it runs is no part of what is measured.
        decisive = replace(settings, workers=0, batch_size=None)
        images = [(file.relative, file.identity()) for file in files]
        contents = [_content(name) for name in (labels, options.weights)]
        self._shared = repr((__version__, labels, decisive, options, contents, images))

    def __call__(self, model: str) -> Path:
        key = hashlib.sha256(f"{model}\n{_content(model)}\n{self._shared}".encode()).hexdigest()[:_KEY]
        slug = re.sub(r"[^\w.-]+", "-", model).strip("-.")[-_SLUG:]
        return self._folder / f"{slug}-{key}.json"


def _content(name: str | None) -> str:
    """The hash of the file that a value names, or of the files in a model's folder; empty where it names something else."""
    try:
        if name and is_model_folder(name):
            return "".join(f"{path.name} {sha256_of(path)} " for path in sorted(Path(name).iterdir()))
        return sha256_of(Path(name)) if name else ""
    except OSError:
        return ""
