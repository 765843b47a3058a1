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

from shiftaudit.errors import ModelError, first_line
from shiftaudit.records.metric import Shift
from shiftaudit.stages import ops
from shiftaudit.stages.calls import CallWatcher
from shiftaudit.stages.find import Discovery
from shiftaudit.stages.grid import Grid, Move
from shiftaudit.stages.ops import OpCall
from shiftaudit.stages.resample import Border, Sampling, pad_border, padded_circularly, resampled, wraps

_FRACTION = "its stride is no whole number, so a shift has no phase there"
_TOLERANCE = 1e-4

Size = tuple[int, int]
"""Rows and columns of a map."""


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
        sizes: of the maps that watched calls return, by their index; see `Rehearsed`. Needed for `wrapped` alone.
    """

    def __init__(self, sites: Mapping[int, Site], sizes: Mapping[int, Size] | None = None) -> None:
        super().__init__()
        self.sites = dict(sites)
        self._sizes = dict(sizes or {})
        self._moves: Sequence[Move] = ()
        self._wrapped = False
        self._pads: dict[int, tuple[Tensor, Tensor, Border]] = {}

    @contextmanager
    def moving(self, moves: Sequence[Move], *, wrapped: bool = False) -> Iterator[None]:
        """Run one forward pass in which the sampling grids of each row do what its move says.

        With `wrapped` every operation of the network pads circularly, so that there is no border that a grid could lie to.
        """
        self._moves, self._wrapped, self.n_calls = tuple(moves), wrapped, 0
        try:
            with self:
                yield
        finally:
            self._pads = {}

    def on_call(self, call: OpCall) -> Any:
        site = self.sites.get(call.index)
        site = site if site is not None and site.kind == call.kind else None
        if call.kind == ops.PAD:
            return self._padded(call)
        # What returns no map, such as a slice of rows of numbers, has no size, and no border either.
        size = self._sizes.get(call.index)
        if self._wrapped and size is not None and wraps(call, size):
            return self._run_wrapped(site, call)
        out = call.run()
        result = ops.output_of(out)
        if site is not None and result is not None:
            with torch.autocast(result.device.type, enabled=False):
                written = self.at_site(site, call, result)
            if written is not result:
                return written
        return out

    def _padded(self, call: OpCall) -> Any:
        """Run an explicit padding call and remember the map before it, for the operation that reads the result."""
        border = pad_border(call) if call.args[0].dim() == 4 else None
        if border is None:
            return call.run()
        if self._wrapped:
            result, border = padded_circularly(call, border, self._sizes[call.index])
        else:
            result = call.run()
        # The padded map is held too, so that no other tensor gets its identity while the pass lasts.
        self._pads[id(result)] = (result, call.args[0], border)
        return result

    def _run_wrapped(self, site: Site | None, call: OpCall) -> Any:
        """What a call returns where it pads circularly; all rows of one phase together."""
        rows: dict[Shift, list[int]] = defaultdict(list)
        for row, move in enumerate(self._moves):
            rows[move.phase(site.grid) if site else (0, 0)].append(row)
        source = call.source
        with torch.autocast(source.device.type if source is not None else "cpu", enabled=False):
            parts = [self.sampled(site, call, self._sizes[call.index], chosen, phase) for phase, chosen in rows.items()]
        order = torch.tensor([row for chosen in rows.values() for row in chosen]).argsort()
        result = parts[0] if len(parts) == 1 else torch.cat(parts)[order.to(parts[0].device)]
        if len(call.func._schema.returns) == 1:
            return result
        out = call.run()
        out[0].copy_(result)
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
            result[chosen] = self.sampled(site, call, size_of(result), chosen, phase)
        return result

    def sampled(self, site: Site | None, call: OpCall, size: Size, rows: Sequence[int], phase: Shift) -> Tensor:
        """Some rows of what a call returns, at another phase."""
        pad = self._pads.get(id(call.source))
        return resampled(call, size, Sampling(rows, phase, site.axis if site else None, pad and pad[1:], self._wrapped))


def size_of(result: Tensor) -> Size:
    """Rows and columns of a map."""
    return result.shape[-2], result.shape[-1]


class _Rehearsal(PhaseMode):
    """Samples every site anew at the phase it has, to learn which cannot be."""

    def __init__(self, sites: Mapping[int, Site]) -> None:
        super().__init__(sites)
        self.failed: dict[int, str] = {}
        self.sizes: dict[int, Size] = {}

    def on_call(self, call: OpCall) -> Any:
        out = super().on_call(call)
        result = ops.output_of(out)
        if result is not None and result.dim() == 4:
            self.sizes[call.index] = size_of(result)
        return out

    def at_site(self, site: Site, call: OpCall, result: Tensor) -> Tensor:
        try:
            again = self.sampled(site, call, size_of(result), [0], (0, 0))
            self.sampled(site, call, size_of(result), [0], (site.grid.phases[0][-1], site.grid.phases[1][-1]))
        except (NotImplementedError, RuntimeError) as error:
            self.failed[site.stage] = first_line(error)
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


@dataclass(frozen=True)
class Rehearsed:
    """What a trial run shows."""

    sites: dict[int, Site]
    """Those that can be sampled elsewhere."""
    failed: dict[int, str]
    """Why stages cannot be, by their place."""
    sizes: dict[int, Size]
    """Of the maps that watched calls return."""


def rehearsed(sites: Mapping[int, Site], run: Any, example: Tensor) -> Rehearsed:
    """Try which sites can be sampled elsewhere.

    Args:
        sites: from `find_sites`.
        run: the forward pass.
        example: (1, C, H, W) input; noise is best, since everything looks alike on a constant one.
    """
    rehearsal = _Rehearsal(sites)
    with torch.inference_mode(), rehearsal.moving([Move((0, 0))]):
        run(example)
    usable = {index: site for index, site in sites.items() if site.stage not in rehearsal.failed}
    return Rehearsed(usable, rehearsal.failed, rehearsal.sizes)


def can_wrap(mode: PhaseMode, run: Any, example: Tensor) -> bool:
    """Whether the network runs with circular padding everywhere; arguments as for `rehearsed`."""
    try:
        with torch.inference_mode(), mode.moving([Move((0, 0))], wrapped=True):
            run(example)
    except (NotImplementedError, RuntimeError, KeyError, ModelError):
        return False
    return True
