"""Two models on the same views: does a converted file still answer as its original?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from shiftaudit.audit.scorer import Scorer
from shiftaudit.errors import InputError
from shiftaudit.images.file import ImageFile
from shiftaudit.images.stream import decoded
from shiftaudit.metrics.intervals import mean_metric
from shiftaudit.models import LoadedModel
from shiftaudit.records.against import Against, Farthest
from shiftaudit.records.settings import Settings
from shiftaudit.views.protocol import resolve


def answer_against(model: LoadedModel, other: LoadedModel, files: Sequence[ImageFile], settings: Settings) -> Against:
    """Compare the answers of two models on the views that `settings` make of the images.

    Both get the same input, prepared as `model` wants it.

    Raises:
        InputError: they have different classes, or no image can be read.
        ModelError: one of them fails.
    """
    settings, info = resolve(replace(settings, stages=False, damage=0), model.preprocessing.size)
    prepared = replace(other, info=replace(other.info, preprocessing=model.preprocessing))
    both = [Scorer(one, info, settings) for one in (model, prepared)]
    classes = [scorer.prepared.n_classes for scorer in both]
    if classes[0] != classes[1]:
        raise InputError(f"{model.info.source} has {classes[0]} classes and {other.info.source} {classes[1]}")
    shares, n_views, largest, farthest = [], 0, 0.0, None
    for image in decoded(files, model.preprocessing, info.canvas, settings.workers):
        (views, first), (_, second) = (scorer.answers(image.pixels, image.id, image.relative) for scorer in both)
        first, second = first.double(), second.double()
        shares.append(float((first.argmax(-1) == second.argmax(-1)).double().mean()))
        n_views += len(views)
        largest = max(largest, float(first.abs().max()))
        logits = (first - second).abs().amax(-1)
        probabilities = (first.softmax(-1) - second.softmax(-1)).abs().amax(-1)
        at = int(logits.argmax())
        if farthest is None or float(logits[at]) > farthest.logit:
            view = views[at]
            found = float(probabilities[at]), float(logits[at])
            farthest = Farthest(image.relative, view.role, view.shift, *found)
    if farthest is None:
        raise InputError("no image could be read")
    agreement = mean_metric(np.array(shares), n_pairs=n_views, higher_is_better=True, kind="share")
    return Against(other.info.source, other.info.kind, other.info.sha256, agreement, largest, farthest)
