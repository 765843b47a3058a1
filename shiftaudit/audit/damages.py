"""Views of one image taken apart: what aliasing does to the answer, what the border does, and what each stage does alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shiftaudit.audit.answers import total_variation
from shiftaudit.audit.prepare import Prepared, even_parts, forward
from shiftaudit.models.fast import random_image
from shiftaudit.records.cause import Change, ImageDamage, SplitView, StageChange
from shiftaudit.records.metric import Shift
from shiftaudit.records.report import SkippedStage
from shiftaudit.records.settings import Settings
from shiftaudit.stages.damage import PhaseMode, can_wrap, find_sites, rehearsed
from shiftaudit.stages.grid import Grid, Move
from shiftaudit.views.shifts import image_generator

_STREAM, _CHOICE_STREAM = 17, 18
"""Keep these draws apart from those of shifts, which come from the same image and seed, and from each other."""

SHARE, AT_LEAST = 0.2, 10
"""By default this share of the images is taken apart, and about so many where there are few."""


def share_of(n_files: int, damage: int | None) -> float:
    """The share of the images that is taken apart.

    Whether an image is depends on its bytes, the seed and this share alone: from fifty images on, one more changes no other.

    >>> share_of(1000, None), share_of(20, None), share_of(5, None), share_of(1000, 1)
    (0.2, 0.5, 1.0, 1.0)
    """
    return 1.0 if damage is not None else min(1.0, max(SHARE, AT_LEAST / max(1, n_files)))


@dataclass(frozen=True)
class _Row:
    """One answer to get: whose pixels, and what the sampling grids do."""

    shift: Shift
    move: Move


class DamageScorer:
    """Samples the stages of one network at other phases.

    Args:
        prepared: the network.
        settings: how it runs, and how many views an image are taken apart.
    """

    def __init__(self, prepared: Prepared, settings: Settings) -> None:
        self._prepared, self._settings = prepared, settings
        found, left_out = find_sites(prepared.stages)
        image = random_image(prepared.watched.example_input(1).to(settings.device))
        tried = rehearsed(found, self._run, image)
        sites, failed = tried.sites, tried.failed
        self._mode = PhaseMode(sites, tried.sizes)
        self._wraps = settings.damage is not None and bool(sites) and can_wrap(self._mode, self._run, image)
        self._views = 1 if settings.damage is None else settings.damage
        self.share = 1.0
        stages = prepared.stages.stages
        self.not_sampled = tuple(
            SkippedStage(stages[place].name, stages[place].op, reason)
            for place, reason in sorted({**left_out, **failed}.items())
        )
        self._grids = tuple(dict.fromkeys(site.grid for _, site in sorted(sites.items())))
        self._sites = sites

    def grid_of(self, place: int) -> int | None:
        """The number of the sampling grid of a stage, by the stage's place; None where it cannot be sampled elsewhere."""
        return next((self._grids.index(site.grid) for site in self._sites.values() if site.stage == place), None)

    def score(
        self, view: Callable[[Shift], Tensor], image_id: str, shifts: Sequence[Shift], logits: Tensor
    ) -> ImageDamage | None:
        """Take some of an image's views apart; None where no stage can be sampled elsewhere.

        Args:
            view: the pixels (1, C, S, S) under a shift; (0, 0) is the unshifted view.
            image_id: decides which views are taken apart, and the phases.
            shifts: of all views.
            logits: (1 + views, classes), the unshifted view first.
        """
        seed = self._settings.seed
        if not self._grids or image_generator(seed, _CHOICE_STREAM, image_id).random() >= self.share:
            return None
        generator = image_generator(seed, _STREAM, image_id)
        chosen = [int(k) for k in generator.permutation(len(shifts))[: self._views]]
        grids = generator.permutation(len(self._grids))
        phases = [_phase(self._grids[int(grids[i % len(grids)])], generator) for i in range(len(chosen))]
        rows = []
        for k, (grid, phase) in zip(chosen, phases, strict=True):
            dy, dx = shifts[k]
            rows += [
                _Row((0, 0), Move((dy, dx))),
                _Row((0, 0), Move(grid.shift(phase), only=grid)),
                _Row((dy, dx), Move((-dy, -dx))),
            ]
        observed = _changes(logits[[0, *(1 + k for k in chosen)]])
        if self._prepared.apart:
            # Against what the same form answers to the image at rest: two runtimes round differently.
            others = _changes(self._answers(view, [_Row((0, 0), Move((0, 0))), *rows]))
        else:
            others = _changes(torch.cat([logits[:1], self._answers(view, rows)]))
        return ImageDamage(
            tuple(SplitView(shifts[k], observed[i], others[3 * i], others[3 * i + 2]) for i, k in enumerate(chosen)),
            tuple(
                StageChange(self._grids.index(grid), phase, others[3 * i + 1], left)
                for i, ((grid, phase), left) in enumerate(zip(phases, self._without_border(view, phases), strict=True))
            ),
        )

    def _without_border(
        self, view: Callable[[Shift], Tensor], phases: Sequence[tuple[Grid, Shift]]
    ) -> list[float | None]:
        """The changes where the whole network pads circularly, against its own answer at rest."""
        if not self._wraps:
            return [None] * len(phases)
        moves = [Move((0, 0)), *(Move(grid.shift(phase), only=grid) for grid, phase in phases)]
        logits = self._answers(view, [_Row((0, 0), move) for move in moves], wrapped=True)
        return [change.variation for change in _changes(logits)]

    def _run(self, batch: Tensor) -> Tensor:
        return forward(self._prepared.watched, batch, self._settings)

    def _answers(self, view: Callable[[Shift], Tensor], rows: Sequence[_Row], *, wrapped: bool = False) -> Tensor:
        logits = []
        with torch.inference_mode():
            for part in even_parts(rows, self._prepared.batch):
                batch = torch.cat([view(row.shift) for row in part])
                with self._mode.moving([row.move for row in part], wrapped=wrapped):
                    logits.append(self._run(batch))
        return torch.cat(logits).detach().float().cpu()


def _changes(logits: Tensor) -> list[Change]:
    """Every row but the first, against the first."""
    answers, variation = logits.argmax(-1), total_variation(logits[1:], logits[0])
    return [Change(bool(a != answers[0]), float(v)) for a, v in zip(answers[1:], variation, strict=True)]


def _phase(grid: Grid, generator: np.random.Generator) -> tuple[Grid, Shift]:
    """A phase of a grid other than the one it has."""
    rows, columns = grid.phases
    others = [(row, column) for row in rows for column in columns if row or column]
    return grid, others[int(generator.integers(len(others)))]
