"""From layer to layer: gather the equations with all layers before it fitted, solve them, go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shiftaudit.errors import ModelError
from shiftaudit.records.refit import RIDGES, LayerRecord, RefitSettings
from shiftaudit.surgery.refit.layers import Pair
from shiftaudit.surgery.refit.match import Match
from shiftaudit.surgery.refit.rows import Gram, features, outputs
from shiftaudit.surgery.refit.solve import Solution, solve
from shiftaudit.surgery.refit.tape import Pass, State, Tape
from shiftaudit.surgery.refit.weights import apply_change, has_intercept

UNCHANGED = 1e-9
"""A relative squared error below this is rounding: no change of the patch reaches the layer."""

Observer = Callable[[int, int, str], None]
"""Told the batches done, those to do, and the layer at hand."""


@dataclass(frozen=True)
class Batches:
    """The images, batch by batch; the same number always gives the same batch, all of one size."""

    count: int
    load: Callable[[int], Tensor]
    held: Callable[[int], bool]
    """Whether a batch is for choosing the ridge alone."""


class Walk:
    """One network on its way to its original, on one set of images.

    What both compute up to the layer at hand is kept between layers within the room of `settings.memory`, so that each pass
    goes on where the one before halted. Without room a pass starts from the images.
    """

    def __init__(
        self, copy: Tape, original: Tape, matches: Sequence[Match], batches: Batches, settings: RefitSettings
    ) -> None:
        self.copy, self.original = copy, original
        self.matches = list(matches)
        self.batches = batches
        self.settings = settings
        self._room = settings.memory * 2**30
        self._states: list[tuple[State, State] | None] = [None] * batches.count

    def go(self, observer: Observer) -> tuple[list[LayerRecord], list[str]]:
        """Fit all layers once; the records of those that were fitted, and the names of those no change reaches.

        Raises:
            ModelError: a layer's values are not finite.
        """
        self._states = [None] * self.batches.count
        records, unchanged = [], []
        for index, match in enumerate(self.matches):
            done = index * self.batches.count
            grams = self._gather(index, lambda batch: observer(done + batch, self._total, match.name))  # noqa: B023
            if grams is None:
                unchanged.append(match.name)
            else:
                records.append(self._fit(match, *grams))
        observer(self._total, self._total, "")
        return records, unchanged

    @property
    def _total(self) -> int:
        return len(self.matches) * self.batches.count

    def _gather(self, index: int, tell: Callable[[int], None]) -> tuple[Gram, Gram] | None:
        """The equations of a layer, to fit on and held out; None where no change reaches it."""
        match = self.matches[index]
        halts = self._halts(index)
        limit = -(-self.settings.rows // self.batches.count)
        fit, held = Gram(), Gram()
        for number in range(self.batches.count):
            tell(number)
            chosen = match.grid.draw(limit, np.random.default_rng([self.settings.seed, index, number]))
            gram = held if self.batches.held(number) else fit
            x, missing, target = self._rows(match, number, chosen, halts)
            if not bool(torch.isfinite(x.sum() + missing.sum())):
                raise ModelError(
                    f"the outputs of layer {match.name} are not finite numbers",
                    hint="look for NaN or infinity in the weights of both models",
                )
            gram.add(x, missing, target)
            if number == 0 and gram.missing <= UNCHANGED * gram.variation:
                return None
        return fit, held

    def _halts(self, index: int) -> Pair:
        """Where copy and original halt, to go on from there for the layers from this one on."""
        rest = self.matches[index:]
        share = self._room / (2 * self.batches.count)
        starts = [(0, 0) if state is None else (state[0].position, state[1].position) for state in self._states]
        ours = self.copy.narrowest(max(p for p, _ in starts), min(m.copy.step for m in rest), share)
        steps = [self.original.maker[m.original.anchor] for m in rest]
        return ours, self.original.narrowest(max(p for _, p in starts), min(steps), share)

    def _rows(self, match: Match, number: int, chosen: Tensor, halts: Pair) -> tuple[Tensor, Tensor, Tensor]:
        layer = match.copy
        state = self._states[number]
        if state is None:
            batch = self.batches.load(number)
            state = self.copy.start(batch), self.original.start(batch.clone())
        ours, theirs = Pass(self.copy, state[0]), Pass(self.original, state[1])
        ours.advance(layer.step, halts[0])
        shape = self.copy.parameters[layer.name].shape
        kernel = (shape[-2], shape[-1]) if layer.convolution else (1, 1)
        x = features(layer, kernel, ours.values[layer.source], match.grid, chosen)
        ours.advance(self.copy.maker[layer.anchor] + 1)
        theirs.advance(self.original.maker[match.original.anchor] + 1, halts[1])
        is_value = outputs(layer, ours.values[layer.anchor], match.grid, match.grid.step, chosen)
        target = outputs(match.original, theirs.values[match.original.anchor], match.grid, (1, 1), chosen)
        assert ours.kept is not None and theirs.kept is not None
        self._keep(number, ours.kept, theirs.kept)
        return x, target - is_value, target

    def _keep(self, number: int, ours: State, theirs: State) -> None:
        self._states[number] = None
        used = sum(state.nbytes for pair in self._states if pair is not None for state in pair)
        if used + ours.nbytes + theirs.nbytes <= self._room:
            self._states[number] = ours, theirs

    def _fit(self, match: Match, fit: Gram, held: Gram) -> LayerRecord:
        both = fit + held
        ridges = RIDGES if self.settings.ridge is None else (self.settings.ridge,)
        intercept = has_intercept(self.copy, match.copy)
        chosen: Solution = solve(fit, held, ridges, intercept=intercept)
        if chosen.ridge is not None:
            self.copy.parameters |= apply_change(self.copy, match.copy, chosen.change)
        known = held.rows > 0 and self.settings.ridge is None
        return LayerRecord(
            match.name, both.rows, chosen.ridge, both.missing / both.variation, both.left(chosen.change) / both.variation,
            held.missing / held.variation if known else None, chosen.held_left / held.variation if known else None,
        )  # fmt: skip
