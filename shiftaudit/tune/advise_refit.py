"""What patching is worth with a refit: growing sets of sites, fitted on half of the images and judged on the other half."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from shiftaudit.images.file import ImageFile
from shiftaudit.models import LoadedModel
from shiftaudit.records.advise import Advice, RefitTrial
from shiftaudit.records.patch import PatchOptions
from shiftaudit.records.settings import Settings
from shiftaudit.tune.advise import MAX_ACCURACY_DROP, Observer, Trials
from shiftaudit.tune.bound import HELD_SHARE, refitted, set_sizes, shares

_RUNS = 7


def with_refit(
    advice: Advice,
    model: LoadedModel,
    images: Sequence[ImageFile],
    settings: Settings | None = None,
    *,
    labels: Mapping[str, int] | None = None,
    max_accuracy_drop: float = MAX_ACCURACY_DROP,
    observer: Observer | None = None,
) -> Advice:
    """The advice with `refitted`: growing sets of its sites, those that do most damage first.

    Args:
        advice: of the same model, images and settings.
        images: half of them, by their bytes and the seed, are fitted on, the others are scored. At least 4.

    Raises: as `advise` and `refit`.
    """
    settings = replace(settings or Settings(), stages=False)
    fitting, held = shares(images, HELD_SHARE, settings.seed)
    trials = _Trials(model, held, settings, advice.options, labels or {}, max_accuracy_drop, observer)
    trials.fitting = fitting
    names = [trial.sites[0] for trial in advice.singles]
    done = [trials.refitted(tuple(n for n in trials.names if n in names[:count])) for count in set_sizes(len(names))]
    return replace(advice, refitted=tuple(done))


class _Trials(Trials):
    """Trials of copies that were refitted."""

    fitting: Sequence[ImageFile] = ()
    _last: LoadedModel | None = None

    def copy(self, options: PatchOptions) -> LoadedModel:
        self._last = refitted(self.model, options, self.fitting, self.settings.seed)
        return self._last

    def refitted(self, sites: tuple[str, ...]) -> RefitTrial:
        """Patch these sites, refit, score what was not fitted on, and time it."""
        trial = self.run(sites)
        assert self._last is not None and self._last.patch_record is not None
        record = self._last.patch_record
        return RefitTrial(trial, record.macs_before, record.macs_after, *_milliseconds(self.model, self._last))


def _milliseconds(*models: LoadedModel) -> list[float]:
    """Median time of one image, the models in turn, so that whatever else the machine does meets all alike."""
    times: list[list[float]] = [[] for _ in models]
    with torch.inference_mode():
        for _ in range(_RUNS):
            for model, seconds in zip(models, times, strict=True):
                x = model.example_input()
                started = time.perf_counter()
                model(x)
                seconds.append((time.perf_counter() - started) / len(x))
    # The first runs of a TorchScript module compile it.
    return [1000 * statistics.median(seconds[2:]) for seconds in times]
