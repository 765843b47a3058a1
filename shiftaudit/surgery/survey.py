"""List a network's downsampling stages without images: where they are, whether they filter, and what a patch would do."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from shiftaudit.errors import PatchError
from shiftaudit.models import LoadedModel, load_model
from shiftaudit.models.given import AnyModel, as_loaded
from shiftaudit.models.source import weights_not_needed
from shiftaudit.records.patch import PatchOptions, SiteRecord
from shiftaudit.records.report import Preprocessing
from shiftaudit.records.settings import ModelOptions
from shiftaudit.records.survey import ListedStage, StageList
from shiftaudit.stages import ops
from shiftaudit.stages.find import Discovery, FoundStage, discover, unseen
from shiftaudit.surgery.patch import plan_patch

ALIASED, AVERAGED, FILTERED = "aliased", "averaged", "filtered"


def survey(
    model: AnyModel, options: PatchOptions | None = None, *, preprocessing: Preprocessing | None = None
) -> StageList:
    """The stages of a model in the order they run, and what `patch` would do with these options.

    Args:
        model: a module of your own, a loaded model, or whatever the command line takes as MODEL.
        options: of the patch.
        preprocessing: of a module of your own, for the size of its input; ImageNet's by default.

    Raises:
        ModelError: the model cannot be loaded, or cannot run on an input of its size.

    >>> from torch import nn
    >>> [stage.op for stage in survey(nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Flatten())).stages]
    ['max_pool']
    """
    if isinstance(model, (str, Path)):
        model = load_model(str(model), ModelOptions(weights=weights_not_needed(str(model))))
    model = as_loaded(model, preprocessing)
    used = model.preprocessing
    example = model.example_input()
    found = discover(model, model.module, example) if model.unseen is None else unseen(model.unseen)
    sites, note = _sites(model, example, options)
    strides = sorted({found.slots[stage.output_slot].stride for stage in found.stages})
    stages = tuple(_listed(stage, found, strides, sites) for stage in found.stages)
    return StageList(model.info.source, used.size, stages, found.skipped, note)


def _sites(
    model: LoadedModel, example: Tensor, options: PatchOptions | None
) -> tuple[dict[str, SiteRecord], str | None]:
    try:
        record = plan_patch(model.module, options, example_input=example.to(model.dtype))
    except PatchError as error:
        return {}, error.message
    return {site.name: site for site in record.sites}, None


def _listed(
    stage: FoundStage,
    found: Discovery,
    strides: list[tuple[float, float]],
    sites: dict[str, SiteRecord],
) -> ListedStage:
    before, after = found.slots[stage.input_slot], found.slots[stage.output_slot]
    filtering = FILTERED if stage.low_pass else AVERAGED if stage.op == ops.AVG_POOL else ALIASED
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
