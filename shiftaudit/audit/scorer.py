"""One image through the network: all its views in as few passes as the batch size allows, and what the answers were.

All views of an image share its passes and no other image's do, so an image's numbers cannot depend on its neighbours: order,
sharding and resuming change nothing. The views on which stages are measured come first, in passes of their own, so that the
others run without anyone watching.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shiftaudit.audit import answers
from shiftaudit.audit.damages import DamageScorer
from shiftaudit.audit.prepare import even_parts, forward, prepare
from shiftaudit.errors import ModelError
from shiftaudit.models import LoadedModel
from shiftaudit.models.preprocessing import normalised
from shiftaudit.records.cause import ImageDamage
from shiftaudit.records.report import ImageResult, ProtocolInfo, Shift, Views
from shiftaudit.records.samples import Calibration, ImageScore, SlotErrors
from shiftaudit.records.settings import Settings
from shiftaudit.records.words import CIRCULAR, CROP, UNSHIFTED, Protocol, Role
from shiftaudit.stages.calibrate import calibrate
from shiftaudit.stages.measure import StageProbe
from shiftaudit.views.protocol import plan_views
from shiftaudit.views.shifts import centre, cut


@dataclass(frozen=True)
class View:
    """One view of an image, and whether feature maps are compared on it."""

    role: Role
    shift: Shift
    watched: bool

    @property
    def protocol(self) -> Protocol:
        """How it is cut: unshifted views are the same under both."""
        return CROP if self.role == CROP else CIRCULAR


class Scorer:
    """Scores decoded images with one model under one protocol."""

    def __init__(self, model: LoadedModel, info: ProtocolInfo, settings: Settings) -> None:
        self.model = model
        self.info = info
        self.size = model.preprocessing.size
        self._device = torch.device(settings.device)
        self._settings = settings
        self.prepared = prepare(model, info, settings)
        stages = self.prepared.stages
        self._probe = StageProbe(stages) if info.stages and stages.stages else None
        self.damage: DamageScorer | None = None
        if self._probe is not None and info.damage != 0:
            self.damage = DamageScorer(self.prepared, settings)

    def score(self, pixels: NDArray[np.uint8], image_id: str, path: str, label: int | None) -> ImageScore:
        """Score one canvas of shape (C, canvas, canvas), uint8.

        Raises:
            ModelError: the model failed, or returned NaN or infinite logits.
        """
        views, logits = self.answers(pixels, image_id, path)
        score = self._collect(logits, views, image_id, path, label)
        return replace(score, damage=self._damage(self._normalised(pixels), logits, views, image_id))

    def answers(self, pixels: NDArray[np.uint8], image_id: str, path: str) -> tuple[list[View], Tensor]:
        """The views of one canvas, the unshifted one first, and their logits (views, classes); raises as `score` does."""
        views = list(_order(plan_views(self.info, image_id), self.info.stage_views if self._probe else 0))
        logits = self._forward(self._normalised(pixels), views)
        bad = ~torch.isfinite(logits).all(-1)
        if bad.any():
            view = views[int(bad.nonzero()[0])]
            raise ModelError(
                f"the model returned NaN or infinite logits for {path} ({view.role}, shift {view.shift})",
                hint="check the preprocessing (--mean, --std, --size) and the weights",
            )
        return views, logits

    def calibrate(self, images: Sequence[NDArray[np.uint8]]) -> tuple[Calibration, ...]:
        """The unit of stage errors in every slot, from canvases of different images."""
        if self._probe is None:
            return ()
        views = [centre(self._normalised(pixels), self.size) for pixels in images]
        batches = (torch.cat(list(part)) for part in even_parts(views, self.prepared.batch))
        return calibrate(self.prepared.stages, self._run_watched, batches, len(views))

    def _normalised(self, pixels: NDArray[np.uint8]) -> Tensor:
        canvas = torch.from_numpy(pixels).to(self._device)[None].contiguous(memory_format=torch.channels_last)
        return normalised(canvas, self.model.preprocessing)

    def _damage(self, canvas: Tensor, logits: Tensor, views: list[View], image_id: str) -> ImageDamage | None:
        """Views of the first protocol taken apart."""
        if self.damage is None:
            return None
        lead = self.info.protocols[0]
        rows = [index for index, view in enumerate(views) if view.role == lead]

        def pixels(shift: Shift) -> Tensor:
            return self._pixels(canvas, View(lead if any(shift) else UNSHIFTED, shift, False))

        return self.damage.score(pixels, image_id, [views[row].shift for row in rows], logits[[0, *rows]])

    def _run_watched(self, batch: Tensor) -> Tensor:
        return forward(self.prepared.watched, batch, self._settings)

    def _forward(self, canvas: Tensor, views: list[View]) -> Tensor:
        logits = []
        for chosen in ([view for view in views if view.watched], [view for view in views if not view.watched]):
            passes = list(even_parts(chosen, self.prepared.batch))
            logits += [self._pass(canvas, part, is_last=part is passes[-1]) for part in passes]
        # A model may return a view of its parameters, which inference mode does not detach.
        return torch.cat(logits).detach().float().cpu()

    def _pass(self, canvas: Tensor, views: Sequence[View], *, is_last: bool) -> Tensor:
        batch = torch.cat([self._pixels(canvas, view) for view in views])
        with torch.inference_mode():
            if self._probe is None or not views[0].watched:
                return forward(self.prepared.fast, batch, self._settings)
            first = views[0].role == UNSHIFTED
            rows = [(view.protocol, view.shift) for view in views[first:]]
            with self._probe.watching(rows, first_is_reference=first, is_last=is_last):
                logits = self._run_watched(batch)
            return forward(self.prepared.fast, batch, self._settings) if self.prepared.apart else logits

    def _pixels(self, canvas: Tensor, view: View) -> Tensor:
        if view.role == UNSHIFTED:
            return centre(canvas, self.size)
        return cut(canvas, view.protocol, [view.shift], self.size)[0]

    def _collect(self, logits: Tensor, views: list[View], image_id: str, path: str, label: int | None) -> ImageScore:
        predictions = logits.argmax(-1)
        reference = logits[0]
        top = int(predictions[0])
        probabilities = logits.double().softmax(-1)[:, top]
        divergence, variation = answers.js_divergence(logits, reference), answers.total_variation(logits, reference)
        ties = answers.near_ties(logits)
        collected: dict[Protocol, Views] = {}
        for protocol in self.info.protocols:
            rows = [index for index, view in enumerate(views) if view.role == protocol]
            collected[protocol] = Views(
                shifts=tuple(views[row].shift for row in rows),
                predictions=tuple(int(predictions[row]) for row in rows),
                probabilities=tuple(float(probabilities[row]) for row in rows),
                js_divergence=tuple(float(divergence[row]) for row in rows),
                near_ties=int(ties[rows].sum()),
                variation=tuple(float(variation[row]) for row in rows),
            )
        image = ImageResult(
            id=image_id,
            path=path,
            label=label,
            prediction=top,
            probability=float(probabilities[0]),
            near_tie=bool(ties[0]),
            views=collected,
        )
        return ImageScore(image, self._slot_errors(views))

    def _slot_errors(self, views: list[View]) -> dict[str, SlotErrors]:
        """Per role, per slot, per watched view."""
        if self._probe is None:
            return {}
        watched = [view.role for view in views if view.watched][1:]
        return {
            role: tuple(
                tuple(_finite(error) for error, of in zip(slot, watched, strict=True) if of == role)
                for slot in self._probe.errors
            )
            for role in dict.fromkeys(watched)
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _order(plan: dict[Protocol, tuple[Shift, ...]], n_watched: int) -> Iterator[View]:
    """The unshifted view, then the watched views of each protocol, and all the others."""
    yield View(UNSHIFTED, (0, 0), True)
    for watched in (True, False):
        for protocol, shifts in plan.items():
            for shift in shifts[:n_watched] if watched else shifts[n_watched:]:
                yield View(protocol, shift, watched)
