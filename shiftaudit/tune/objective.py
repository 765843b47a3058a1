"""The loss of a recovery: answers averaged over shifts, features level by level, and labels where there are any.

The terms, and what the study in docs/recover.md found of each:
- the answers' Kullback-Leibler divergence from the original's answer, averaged over shifted views of the same crop, some
  of them rolled around the edge as the circular protocol does: the average is both the more accurate and the
  shift-invariant target, so it teaches consistency without a term of its own;
- the relative squared error of the features, without which the answers alone recover nothing;
- the same error of the low-passed features: a filtered network cannot reproduce the aliased detail of the original's
  maps, and this term weighs what it can reproduce.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from shiftaudit.records.tune import TuneSettings
from shiftaudit.records.words import CIRCULAR, CROP
from shiftaudit.surgery.blurpool import blur_kernel, filter_map
from shiftaudit.tune.data import NO_LABEL, Batch
from shiftaudit.tune.targets import TapChoice, Tapped
from shiftaudit.views.shifts import centre, cut, default_max_shift

_TINY = 1e-12


@dataclass(frozen=True)
class Objective:
    """Compares a copy with its original on batches of crops."""

    student: Tapped
    teacher: Tapped
    answers: Callable[[Tensor], Tensor]
    """The original's logits alone, (N, classes), in whatever form runs fastest."""
    taps: TapChoice
    settings: TuneSettings
    size: int
    """Side of the window that is cut from a batch's canvas."""

    def loss(self, batch: Batch, generator: np.random.Generator) -> Tensor:
        """Scalar, differentiable in the student's parameters. `generator` draws where the windows lie."""
        view = self._view(batch.canvas, generator)
        with torch.no_grad():
            answer, theirs = self.teacher.run(view, self.taps.names)
            if self.settings.centred:
                answer = self.answers(centre(batch.canvas, self.size))
            target = answer.float().softmax(-1)
            for _ in range(self.settings.shift_views):
                target = target + self.answers(self._view(batch.canvas, generator)).float().softmax(-1)
            target = target / (1 + self.settings.shift_views)
        logits, ours = self.student.run(view, self.taps.names)
        total = self.settings.logits * F.kl_div(logits.float().log_softmax(-1), target, reduction="batchmean")
        for error in self._feature_errors(ours, theirs):
            total = total + error
        labelled = batch.labels != NO_LABEL
        if self.settings.labels > 0 and bool(labelled.any()):
            share = float(labelled.float().mean())
            labels = batch.labels.to(logits.device)
            entropy = F.cross_entropy(logits.float(), labels, ignore_index=NO_LABEL)
            total = total + self.settings.labels * share * entropy
        return total

    def _view(self, canvas: Tensor, generator: np.random.Generator) -> Tensor:
        view = window(canvas, self.size, generator)
        return rolled(view, self.settings.roll, default_max_shift(CIRCULAR, self.size), generator)

    def _feature_errors(self, ours: list[Tensor | None], theirs: list[Tensor | None]) -> Iterator[Tensor]:
        for level in self.taps.levels:
            for index in level:
                a, b = ours[index], theirs[index]
                if a is None or b is None or a.shape != b.shape:
                    continue
                if self.settings.features > 0:
                    yield self.settings.features / len(level) * relative_error(a - b, b)
                if self.settings.smooth_features > 0 and a.dim() == 4 and min(a.shape[2:]) > 2:
                    yield self.settings.smooth_features / len(level) * relative_error(smooth(a - b), smooth(b))


def relative_error(difference: Tensor, reference: Tensor) -> Tensor:
    """Mean over a batch of ‖difference‖² / ‖reference‖².

    >>> relative_error(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 1.0], [0.0, 2.0]]))
    tensor(0.7500)
    """
    rest = list(range(1, reference.dim()))  # summed in place: flattening a channels-last map would copy it
    energy = reference.square().sum(rest).clamp_min(_TINY)
    return (difference.square().sum(rest) / energy).mean()


def smooth(x: Tensor) -> Tensor:
    """A map (N, C, H, W) filtered with the 3×3 binomial filter at stride 1."""
    return filter_map(x, blur_kernel([3, 3]), [1, 1], [1, 1, 1, 1], "replicate")


def window(canvas: Tensor, size: int, generator: np.random.Generator) -> Tensor:
    """A random size×size window of each canvas of a batch."""
    room = canvas.shape[-1] - size
    corners = generator.integers(0, room + 1, (len(canvas), 2))
    shifts = (room // 2 - corners).tolist()
    views = [cut(one, CROP, [(dy, dx)], size)[0] for one, (dy, dx) in zip(canvas, shifts, strict=True)]
    return torch.stack(views)


def rolled(view: Tensor, share: float, limit: int, generator: np.random.Generator) -> Tensor:
    """A copy of a batch of views with about that share of them rolled around the edge by up to `limit` pixels."""
    chosen = generator.random(len(view)) < share
    shifts = generator.integers(-limit, limit + 1, (len(view), 2))
    moved = view.clone()
    for index in np.flatnonzero(chosen).tolist():
        dy, dx = shifts[index].tolist()
        (moved[index],) = cut(view[index], CIRCULAR, [(dy, dx)], view.shape[-1])
    return moved
