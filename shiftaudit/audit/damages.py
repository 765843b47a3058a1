"""Views of one image taken apart: what aliasing does to the answer, what the border does, and what each stage does alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shiftaudit.audit.answers import total_variation
from shiftaudit.audit.batches import even_parts
from shiftaudit.audit.prepare import Prepared, forward
from shiftaudit.models.fast import random_image
from shiftaudit.records.cause import Change, ImageDamage, SplitView, StageChange
from shiftaudit.records.metric import Shift
from shiftaudit.records.report import SkippedStage
from shiftaudit.records.settings import Settings
from shiftaudit.stages.damage import PhaseMode, find_sites, rehearsed
from shiftaudit.stages.grid import Grid, Move

_STREAM = 17
"""Keeps these draws apart from those of shifts, which come from the same image and seed."""


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
        example: (1, C, S, S), to try it on.
    """

    def __init__(self, prepared: Prepared, settings: Settings, example: Tensor) -> None:
        self._prepared, self._settings = prepared, settings
        sites, left_out = find_sites(prepared.stages)
        sites, failed = rehearsed(sites, self._run, random_image(example))
        self._mode = PhaseMode(sites)
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
        if not self._grids:
            return None
        generator = _generator(self._settings.seed, image_id)
        chosen = [int(k) for k in generator.permutation(len(shifts))[: self._settings.damage]]
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
        changes = _changes(torch.cat([logits[:1], logits[[1 + k for k in chosen]], self._answers(view, rows)]))
        observed, others = changes[: len(chosen)], changes[len(chosen) :]
        return ImageDamage(
            tuple(SplitView(shifts[k], observed[i], others[3 * i], others[3 * i + 2]) for i, k in enumerate(chosen)),
            tuple(
                StageChange(self._grids.index(grid), phase, others[3 * i + 1]) for i, (grid, phase) in enumerate(phases)
            ),
        )

    def _run(self, batch: Tensor) -> Tensor:
        return forward(self._prepared.watched, batch, self._settings)

    def _answers(self, view: Callable[[Shift], Tensor], rows: Sequence[_Row]) -> Tensor:
        logits = []
        with torch.inference_mode():
            for part in even_parts(rows, self._prepared.batch):
                batch = torch.cat([view(row.shift) for row in part])
                batch = batch.contiguous(memory_format=torch.channels_last)
                with self._mode.moving([row.move for row in part]):
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


def _generator(seed: int, image_id: str) -> np.random.Generator:
    words = [int(image_id[i : i + 8], 16) for i in range(0, len(image_id), 8)]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, _STREAM, *words])))
