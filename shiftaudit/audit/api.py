"""The audit in one call, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shiftaudit.audit.audit import Observer, audit
from shiftaudit.images.find import find_images
from shiftaudit.images.labels import read_labels
from shiftaudit.models.given import AnyModel, as_loaded
from shiftaudit.records.report import AuditReport, Preprocessing
from shiftaudit.records.settings import Settings


def score(
    model: AnyModel,
    images: str | Path | Sequence[str | Path],
    settings: Settings | None = None,
    *,
    labels: str = "auto",
    preprocessing: Preprocessing | None = None,
    observer: Observer | None = None,
) -> AuditReport:
    """Score `model` on `images` under shifts, as `shiftaudit score` does.

    Args:
        model: a module of your own (left as it is), a loaded model, or whatever the command line takes as MODEL.
        images: folders of images, or images.
        settings: protocol, shifts, seed, batch size, device.
        labels: `auto`, `folder`, `none` or a CSV file.
        preprocessing: of a module of your own; ImageNet's by default.
        observer: told how it goes on.

    Raises:
        InputError: no image can be read, or an argument cannot be used.
        ModelError: the model cannot be loaded or fails.

    >>> from shiftaudit import sample
    >>> report = score(sample.model_path(), sample.images_path(), Settings(shifts="2", stages=False, workers=0))
    >>> report.data.n_images, sorted(report.protocols)
    (80, ['circular', 'crop'])
    >>> report.protocols["crop"].metrics["consistency"].value > 0.8
    True
    """
    settings = settings or Settings()
    loaded = as_loaded(model, preprocessing, settings.device)
    files, skipped = find_images(images)
    found = read_labels(labels, files, class_names=loaded.class_names, n_classes=None)
    return audit(loaded, files, settings, labels=dict(found.by_path), skipped=skipped, observer=observer)
