"""Sample the stages of a running network at other phases, row by row of a batch.

One pass serves many questions: the rows of a batch are one image at rest, or its shifted views, and every row says at which phase
each stage shall sample it. A stage's call runs as it is, and then the rows that are to be sampled elsewhere are overwritten, so
this works for eager, scripted, traced and exported networks alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from shiftaudit.records.metric import Shift
from shiftaudit.stages import ops
from shiftaudit.stages.calls import CallWatcher
from shiftaudit.stages.find import Discovery
from shiftaudit.stages.grid import Grid, Move
from shiftaudit.stages.ops import OpCall
from shiftaudit.stages.resample import Border, Sampling, pad_border, resampled

_FRACTION = "its stride is no whole number, so a shift has no phase there"
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Site:
    """One watched call that belongs to a stage."""

    stage: int
    kind: str
    grid: Grid
    axis: int | None = None
    """Of a slice: whether it strides over rows (0) or columns (1)."""


class PhaseMode(CallWatcher):
    """Hands back what stages return at other phases. Each pass runs inside `with mode.moving(…):`.

    Args:
        sites: by the index of the watched call.
    """

    def __init__(self, sites: Mapping[int, Site]) -> None:
        super().__init__()
        self.sites = dict(sites)
        self._moves: Sequence[Move] = ()
        self._pads: dict[int, tuple[Tensor, Tensor, Border]] = {}

    @contextmanager
    def moving(self, moves: Sequence[Move]) -> Iterator[None]:
        """Run one forward pass in which the sampling grids of each row do what its move says."""
        self._moves, self.n_calls = tuple(moves), 0
        try:
            with self:
                yield
        finally:
            self._pads = {}

    def on_call(self, call: OpCall) -> Any:
        out = call.run()
        result = ops.output_of(out)
        site = self.sites.get(call.index)
        if call.kind == ops.PAD and result is not None:
            border = pad_border(call)
            if border is not None:
                # The padded map is held too, so that no other tensor gets its identity while the pass lasts.
                self._pads[id(result)] = (result, call.args[0], border)
        elif site is not None and result is not None and site.kind == call.kind:
            with torch.autocast(result.device.type, enabled=False):
                written = self.at_site(site, call, result)
            if written is not result:
                return written
        return out

    def at_site(self, site: Site, call: OpCall, result: Tensor) -> Tensor:
        """`result` with the rows that sample elsewhere overwritten; a slice is a view of its source, so it is copied first."""
        rows: dict[Shift, list[int]] = defaultdict(list)
        for row, move in enumerate(self._moves):
            phase = move.phase(site.grid)
            if any(phase if site.axis is None else (phase[site.axis],)):
                rows[phase].append(row)
        if rows and site.axis is not None:
            result = result.clone()
        for phase, chosen in rows.items():
            result[chosen] = self.sampled(site, call, result, chosen, phase)
        return result

    def sampled(self, site: Site, call: OpCall, result: Tensor, rows: Sequence[int], phase: Shift) -> Tensor:
        """Some rows of what a call returns, at another phase."""
        pad = self._pads.get(id(call.source))
        return resampled(call, result, Sampling(rows, phase, site.axis, pad and pad[1:]))


class _Rehearsal(PhaseMode):
    """Samples every site anew at the phase it has, to learn which cannot be."""

    def __init__(self, sites: Mapping[int, Site]) -> None:
        super().__init__(sites)
        self.failed: dict[int, str] = {}

    def at_site(self, site: Site, call: OpCall, result: Tensor) -> Tensor:
        try:
            again = self.sampled(site, call, result, [0], (0, 0))
            self.sampled(site, call, result, [0], (site.grid.phases[0][-1], site.grid.phases[1][-1]))
        except (NotImplementedError, RuntimeError) as error:
            self.failed[site.stage] = str(error).splitlines()[0]
            return result
        scale = max(1.0, float(result[:1].abs().max()))
        if float((again - result[:1]).abs().max()) > _TOLERANCE * scale:
            self.failed[site.stage] = "sampled anew where it is, it does not give its own output"
        return result


def find_sites(discovery: Discovery) -> tuple[dict[int, Site], dict[int, str]]:
    """The calls that belong to stages of whole strides, by their index; and why other stages cannot be sampled elsewhere."""
    sites: dict[int, Site] = {}
    left_out: dict[int, str] = {}
    for place, stage in enumerate(discovery.stages):
        before, after = (discovery.slots[slot].stride for slot in (stage.input_slot, stage.output_slot))
        grid = Grid(before, after)
        if not grid.is_whole:
            left_out[place] = _FRACTION
            continue
        for sampler in stage.samplers:
            sites[sampler.index] = Site(place, sampler.kind, grid, sampler.axis)
    return sites, left_out


def rehearsed(mode_sites: Mapping[int, Site], run: Any, example: Tensor) -> tuple[dict[int, Site], dict[int, str]]:
    """The sites that a trial run shows can be sampled elsewhere, and why stages with others cannot.

    Args:
        mode_sites: from `find_sites`.
        run: the forward pass.
        example: (1, C, H, W) input; noise is best, since everything looks alike on a constant one.
    """
    rehearsal = _Rehearsal(mode_sites)
    with torch.inference_mode(), rehearsal.moving([Move((0, 0))]):
        run(example)
    return {index: site for index, site in mode_sites.items() if site.stage not in rehearsal.failed}, rehearsal.failed
