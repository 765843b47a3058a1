"""Score a network on the held-out crops: is it still the original, and does it answer the same when the crop moves?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shiftaudit.images.file import ImageFile
from shiftaudit.metrics.counts import count_views
from shiftaudit.models.preprocessing import normalised
from shiftaudit.records.report import Preprocessing
from shiftaudit.records.tune import HoldoutScore, TuneSettings
from shiftaudit.records.words import CIRCULAR, CROP, PROTOCOLS, Protocol
from shiftaudit.tune.data import holdout_canvases
from shiftaudit.tune.targets import Tapped
from shiftaudit.views.shifts import centre, cut, default_max_shift, draw_shifts

VIEWS = 4
"""Shifted views of each crop and protocol."""


class Holdout:
    """Fixed views of the held-out crops, and the original's answers to them.

    `original` is the original's own score (its agreement with itself is 1).
    """

    def __init__(
        self,
        files: Sequence[ImageFile],
        preprocessing: Preprocessing,
        settings: TuneSettings,
        labels: Mapping[str, int],
        teacher: Tapped,
        device: torch.device,
    ) -> None:
        self._size = preprocessing.size
        self._batch = settings.batch_size
        self._device = device
        self._limits = {protocol: default_max_shift(protocol, self._size) for protocol in PROTOCOLS}
        if settings.shift is not None:
            self._limits[CROP] = max(1, settings.shift)
        margin = self._limits[CROP]
        canvases, self._ids, names = holdout_canvases(
            files, preprocessing, margin=margin, min_scale=settings.min_scale, seed=settings.seed
        )
        self._canvases = [normalised(torch.tensor(pixels), preprocessing) for pixels in canvases]
        self._labels = np.array([labels.get(name, -1) for name in names])
        self._truth: NDArray[np.int64] | None = None
        self.original = self.score(teacher)

    def __len__(self) -> int:
        return len(self._canvases)

    def score(self, network: Tapped) -> HoldoutScore:
        """Score a network. The first one scored is the original, with which all others are compared."""
        unshifted = self._predict(network, [centre(canvas, self._size) for canvas in self._canvases])
        if self._truth is None:
            self._truth = unshifted
        labelled = self._labels >= 0
        return HoldoutScore(
            agreement=float((unshifted == self._truth).mean()),
            consistency_crop=self._consistency(network, unshifted, CROP),
            consistency_circular=self._consistency(network, unshifted, CIRCULAR),
            accuracy=float((unshifted == self._labels)[labelled].mean()) if labelled.any() else None,
        )

    def _consistency(self, network: Tapped, unshifted: NDArray[np.int64], protocol: Protocol) -> float:
        limit = self._limits[protocol]
        count = min(VIEWS, 2 * limit + 1)
        views: list[Tensor] = []
        for canvas, image_id in zip(self._canvases, self._ids, strict=True):
            shifts = draw_shifts(str(count), limit, seed=0, image_id=image_id, protocol=protocol)
            views += cut(canvas, protocol, shifts, self._size)
        shifted = self._predict(network, views).reshape(-1, count)
        images = zip(unshifted.tolist(), shifted.tolist(), strict=True)
        return float(np.mean([count_views(answer, None, answers).consistency for answer, answers in images]))

    def _predict(self, network: Tapped, views: Sequence[Tensor]) -> NDArray[np.int64]:
        answers = []
        with torch.inference_mode():
            for start in range(0, len(views), self._batch):
                x = torch.stack(list(views[start : start + self._batch])).to(self._device)
                logits, _ = network.run(x, ())
                answers.append(logits.argmax(-1).cpu().numpy())
        return np.concatenate(answers)
