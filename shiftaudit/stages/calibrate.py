"""What the maps of unrelated images are apart, in every watched place of a network: the unit of stage errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from shiftaudit.records.samples import Calibration
from shiftaudit.stages.find import Discovery
from shiftaudit.stages.measure import SlotWatcher
from shiftaudit.stages.standard import interpolation_floor, spread_of, unrelated_distance


class _Collector(SlotWatcher):
    """Keeps the maps of all images, slot by slot, until the last image has come by; then only what they give."""

    def __init__(self, discovery: Discovery, n_images: int) -> None:
        super().__init__(discovery)
        self.found: dict[int, Calibration] = {}
        self._n_images = n_images
        self._maps: dict[int, list[Tensor]] = {}
        self.n_rows = 0

    def see(self, index: int, maps: Tensor) -> None:
        kept = self._maps.setdefault(index, [])
        rows = maps[: self.n_rows].float()
        if len(kept) + len(rows) < self._n_images:
            kept += rows.clone().unbind()
            return
        every = [*kept, *rows]
        self.found[index] = Calibration(
            distance=unrelated_distance(every),
            floor=math.fsum(interpolation_floor(one) for one in every) / len(every),
            n_constant=min(one.shape[-1] - spread_of(one).n_live for one in every),
        )
        del self._maps[index]


def calibrate(
    discovery: Discovery, run: Callable[[Tensor], Tensor], batches: Iterable[Tensor], n_images: int
) -> tuple[Calibration, ...]:
    """The calibration of every slot, in order.

    Args:
        discovery: where the slots are.
        run: the forward pass.
        batches: (N, C, S, S) unshifted views of different images, `n_images` of them in all.
    """
    collector = _Collector(discovery, n_images)
    with torch.inference_mode():
        for batch in batches:
            collector.n_calls, collector.n_rows = 0, len(batch)
            with collector:
                run(batch)
    nothing = Calibration(math.sqrt(2), 0.0, 0)
    return tuple(collector.found.get(index, nothing) for index in range(len(discovery.slots)))
