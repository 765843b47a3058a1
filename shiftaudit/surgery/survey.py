"""List a network's downsampling stages without images: where they are, whether they filter, and what a patch would do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from shiftaudit.errors import PatchError
from shiftaudit.models import LoadedModel
from shiftaudit.records.patch import PatchOptions, SiteRecord
from shiftaudit.records.report import SkippedStage
from shiftaudit.stages import ops
from shiftaudit.stages.find import Discovery, FoundStage, discover
from shiftaudit.surgery.patch import plan_patch

ALIASED, AVERAGED, FILTERED = "aliased", "averaged", "filtered"
_SAME = 1e-5


@dataclass(frozen=True)
class ListedStage:
    """One downsampling operation. Pairs are (y, x)."""

    name: str
    op: str
    stride: tuple[float, float]
    layer_stride: tuple[float, float]
    level: int
    input_size: tuple[int, int]
    output_size: tuple[int, int]
    channels: int
    filtering: str
    """`filtered`: a fixed low-pass filter comes with it; `averaged`: an average-pool's weak box filter; else `aliased`."""
    patch_action: str | None
    """What `patch` would do with its default options; None where it does not see the operation."""
    patch_reason: str | None


@dataclass(frozen=True)
class StageList:
    """All stages of a network at the size of its preprocessing."""

    source: str
    input_size: int
    stages: tuple[ListedStage, ...]
    skipped: tuple[SkippedStage, ...]
    patch_note: str | None
    """Why `patch` cannot work on this model, None where it can."""


class _Filters(TorchDispatchMode):
    """Notes, for each watched call, whether it is a convolution with a fixed low-pass filter.

    Calls are counted as `shiftaudit.stages.find` counts them.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls = 0
        self.low_pass: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = ops.KINDS.get(func._schema.name)
        if kind is not None:
            if kind == ops.CONV and is_low_pass(ops.bind(func, args, kwargs)["weight"]):
                self.low_pass.add(self.calls)
            self.calls += 1
        return func(*args, **kwargs)


def is_low_pass(weight: Tensor) -> bool:
    """Whether a convolution's weight (C, 1, h, w) is one smoothing filter for all channels: not negative, sum 1, no point.

    >>> is_low_pass(torch.full((8, 1, 2, 2), 0.25)), is_low_pass(torch.ones(8, 1, 1, 1)), is_low_pass(torch.ones(8, 8, 3, 3))
    (True, False, False)
    """
    if weight.dim() != 4 or weight.shape[1] != 1 or weight[0].numel() < 2:
        return False
    first = weight[:1]
    sums_to_one = abs(float(first.sum()) - 1) < _SAME
    return sums_to_one and bool((first >= 0).all()) and bool(((weight - first).abs() < _SAME).all())


def list_stages(model: LoadedModel, options: PatchOptions | None = None) -> StageList:
    """The stages of a loaded model in the order they run, and what `patch` would do with these options.

    Raises:
        ModelError: the model cannot run on an input of its size.
    """
    used = model.preprocessing
    example = torch.zeros(model.fixed_batch or 1, used.channels, used.size, used.size)
    found = discover(model, model.module, example)
    filters = _Filters()
    with torch.inference_mode(), filters:
        model(example)
    sites, note = _sites(model, example, options)
    strides = sorted({found.slots[stage.output_slot].stride for stage in found.stages})
    stages = tuple(_listed(stage, found, strides, filters.low_pass, sites) for stage in found.stages)
    return StageList(model.info.source, used.size, stages, found.skipped, note)


def _sites(
    model: LoadedModel, example: Tensor, options: PatchOptions | None
) -> tuple[dict[str, SiteRecord], str | None]:
    try:
        record = plan_patch(model.module, options, example_input=example)
    except PatchError as error:
        return {}, error.message
    return {site.name: site for site in record.sites}, None


def _listed(
    stage: FoundStage,
    found: Discovery,
    strides: list[tuple[float, float]],
    low_pass: set[int],
    sites: dict[str, SiteRecord],
) -> ListedStage:
    before, after = found.slots[stage.input_slot], found.slots[stage.output_slot]
    filtering = FILTERED if after.call in low_pass else AVERAGED if stage.op == ops.AVG_POOL else ALIASED
    site = sites.get(stage.name)
    return ListedStage(
        stage.name,
        stage.op,
        after.stride,
        stage.layer_stride,
        strides.index(after.stride) + 1,
        before.size,
        after.size,
        after.channels,
        filtering,
        site.action if site else None,
        site.reason if site else None,
    )
