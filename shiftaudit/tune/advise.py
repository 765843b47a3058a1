"""Which downsampling sites are worth patching when nobody is going to train: try each alone, then the best together."""

from __future__ import annotations

import glob
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from shiftaudit.audit.audit import audit
from shiftaudit.errors import InputError
from shiftaudit.images.file import ImageFile
from shiftaudit.metrics.counts import view_counts
from shiftaudit.metrics.intervals import mean_metric
from shiftaudit.models import LoadedModel
from shiftaudit.records.advise import Advice, Change, Trial
from shiftaudit.records.patch import PatchOptions
from shiftaudit.records.report import AuditReport, ImageResult
from shiftaudit.records.settings import Settings
from shiftaudit.records.words import Protocol
from shiftaudit.surgery.patch import patched, plan_patch

DAMAGE_VIEWS = 2
"""Views of every image of the original that are taken apart."""

MAX_ACCURACY_DROP = 0.01
"""With labels, the largest fall in accuracy that counts as harmless."""

Observer = Callable[[str, int, int], None]
"""Called before each audit: what is tried, its number, and how many there are at most."""


def advise(
    model: LoadedModel,
    images: Sequence[ImageFile],
    settings: Settings | None = None,
    options: PatchOptions | None = None,
    *,
    labels: Mapping[str, int] | None = None,
    max_accuracy_drop: float = MAX_ACCURACY_DROP,
    observer: Observer | None = None,
) -> Advice:
    """Patch each site alone, without training, and see what it does; then add up the good ones, best first.

    Sites stand in the order of the damage that their stages do in the original; where the interval of what a filter could win
    reaches down to 0, nothing is proposed. A trial is *harmless* when the answers stay the original's, as `Advice.rule` says.
    The proposal is the harmless set of sites with the largest gain in consistency (mean of the protocols) whose interval lies
    above 0; there may be none.

    Args:
        model: the original.
        images: images, labelled or not.
        settings: the views; stages are measured on the original alone.
        options: filter and placement; `only`, `skip` and `stem` say which sites are tried.
        labels: class by relative path.

    Raises:
        PatchError: the model cannot be patched or has no site to try.
        InputError: no image could be read, or the tolerance is negative.
    """
    if max_accuracy_drop < 0:
        raise InputError(f"--max-accuracy-drop got {max_accuracy_drop}; expected 0 or more")
    options = options or PatchOptions()
    settings = replace(settings or Settings(), stages=False)
    trials = Trials(model, images, settings, options, labels or {}, max_accuracy_drop, observer, take_apart=True)
    singles = sorted((trials.run((name,)) for name in trials.names), key=_rank)
    combined, best = _grow(trials, singles)
    best = best if trials.may_win else None
    return Advice(
        model=model.info,
        protocol=trials.original.protocol,
        options=options,
        original_consistency=trials.consistency,
        original_accuracy=trials.accuracy,
        n_images=trials.original.data.n_images,
        rule=trials.rule,
        singles=tuple(sorted(singles, key=lambda trial: -(trial.damage or 0.0))),
        combined=tuple(combined),
        proposal=best.sites if best else (),
        gain=best.mean_consistency if best else None,
        ceiling=trials.ceiling,
    )


def rank_sites(
    model: LoadedModel,
    images: Sequence[ImageFile],
    settings: Settings,
    options: PatchOptions,
) -> tuple[str, ...]:
    """The names of the sites that `options` would patch, those first whose stages do most damage in the original.

    Raises: as `advise`.
    """
    names = site_names(model, options)
    damages = damage_of_stages(audit(model, images, taking_apart(settings))) if len(names) > 1 else {}
    return tuple(sorted(names, key=lambda name: -damages.get(name, 0.0)))


def taking_apart(settings: Settings) -> Settings:
    """The settings under which the original is scored, so that the damage of its stages is known."""
    return replace(settings, stages=True, stage_views=1, damage=DAMAGE_VIEWS)


def damage_of_stages(report: AuditReport) -> dict[str, float]:
    """By stage, how much probability moves when it alone samples elsewhere; without those it was not measured of."""
    values = {stage.name: stage.damage.variation.value for stage in report.stages if stage.damage is not None}
    return {name: value for name, value in values.items() if value is not None}


def site_names(model: LoadedModel, options: PatchOptions) -> tuple[str, ...]:
    """The sites that `options` would patch, in the order of execution.

    Raises:
        PatchError: there is none; it says why, site by site.
    """
    plan = plan_patch(model.module, options, example_input=model.random_input())
    if not plan.patched:
        patched(model, options)
    return tuple(site.name for site in plan.patched)


def at_sites(options: PatchOptions, names: Sequence[str]) -> PatchOptions:
    """The options for sites of these very names."""
    return replace(options, only=tuple(map(glob.escape, names)), skip=())


def _rank(trial: Trial) -> tuple[bool, float]:
    return not trial.harmless, -trial.mean_consistency.value


def _grow(trials: Trials, singles: Sequence[Trial]) -> tuple[list[Trial], Trial | None]:
    """Add the harmless sites that raise consistency, best first, as long as each addition helps and harms nothing."""
    helpful = [trial for trial in singles if trial.harmless and trial.mean_consistency.value > 0]
    if not helpful:
        return [], None
    best = helpful[0]
    combined: list[Trial] = []
    for trial in helpful[1:]:
        together = trials.run(tuple(name for name in trials.names if name in {*best.sites, *trial.sites}))
        combined.append(together)
        if together.harmless and together.mean_consistency.value > best.mean_consistency.value:
            best = together
    gaining = [trial for trial in (best, *combined, *helpful) if trial.harmless and trial.gains]
    # The largest gain; between equals the smaller patch.
    return combined, min(gaining, key=lambda trial: (-trial.mean_consistency.value, len(trial.sites)), default=None)


class Trials:
    """The original's answers, and what a patch changes about them."""

    def __init__(
        self,
        model: LoadedModel,
        images: Sequence[ImageFile],
        settings: Settings,
        options: PatchOptions,
        labels: Mapping[str, int],
        max_accuracy_drop: float,
        observer: Observer | None,
        *,
        take_apart: bool = False,
    ) -> None:
        self.model, self.images, self.settings, self.options = model, images, settings, options
        self.labels = labels
        self.observer = observer or (lambda _what, _number, _total: None)
        self.max_accuracy_drop = max_accuracy_drop
        self.names = site_names(model, options)
        self._count = 0
        self.original = self._audit(model, "the original", taking_apart(settings) if take_apart else settings)
        self.ceiling = self.original.cause.answers.ceiling if self.original.cause else None
        self._damages = damage_of_stages(self.original)
        self.consistency = {
            protocol: float(np.nanmean(consistency_of(self.original, protocol))) for protocol in self.original.protocols
        }
        known = correct_of(self.original)
        self.accuracy = None if np.isnan(known).all() else float(np.nanmean(known))
        self._threshold = float(np.mean(list(self.consistency.values())))
        self.rule = (
            f"the answer is the original's on at least {100 * self._threshold:.1f} % of the images, as often as the original's "
            "own shifted views agree"
        )
        if self.accuracy is not None:
            self.rule += f", and accuracy falls by at most {100 * self.max_accuracy_drop:.1f} %"

    @property
    def may_win(self) -> bool:
        """Whether the images show that a filter could win something, or cannot tell."""
        return self.ceiling is None or bool(self.ceiling.ci_low)

    def _audit(self, model: LoadedModel, what: str, settings: Settings) -> AuditReport:
        self._count += 1
        self.observer(what, self._count, 2 * len(self.names))
        return audit(model, self.images, settings, labels=self.labels)

    def copy(self, options: PatchOptions) -> LoadedModel:
        return patched(self.model, options)

    def run(self, sites: tuple[str, ...]) -> Trial:
        """Patch these sites, audit, and compare with the original image by image."""
        report = self._audit(self.copy(at_sites(self.options, sites)), " + ".join(sites), self.settings)
        protocols = list(self.original.protocols)
        differences = [consistency_of(report, p) - consistency_of(self.original, p) for p in protocols]
        per_protocol = {p: change_of(values) for p, values in zip(protocols, differences, strict=True)}
        mean = change_of(np.mean(differences, axis=0))
        agreement = agreement_of(report, self.original)
        accuracy = None
        if self.accuracy is not None:
            accuracy = change_of(correct_of(report) - correct_of(self.original))
        harmless = agreement.value >= self._threshold and (
            accuracy is None or accuracy.value >= -self.max_accuracy_drop
        )
        return Trial(
            sites=sites,
            consistency=per_protocol,
            mean_consistency=mean,
            agreement=agreement,
            accuracy=accuracy,
            harmless=harmless,
            gains=mean.ci_low is not None and mean.ci_low > 0,
            damage=self._damages.get(sites[0]) if len(sites) == 1 else None,
        )


def _images(report: AuditReport) -> list[ImageResult]:
    return sorted(report.per_image, key=lambda image: image.id)


def consistency_of(report: AuditReport, protocol: Protocol) -> NDArray[np.float64]:
    """Per image, the share of agreeing pairs among the shifted views."""
    counts = [view_counts(image, protocol) for image in _images(report)]
    return np.array([math.nan if count is None else count.consistency for count in counts])


def predictions_of(report: AuditReport) -> NDArray[np.int64]:
    """Per image, the class of the unshifted view."""
    return np.array([image.prediction for image in _images(report)], dtype=np.int64)


def agreement_of(copy: AuditReport, original: AuditReport) -> Change:
    """Share of the images to which both give the same unshifted answer."""
    return change_of((predictions_of(copy) == predictions_of(original)).astype(np.float64), low=0.0)


def correct_of(report: AuditReport) -> NDArray[np.float64]:
    """Per image, whether the unshifted answer is the label's; NaN without one."""
    return np.array(
        [math.nan if image.label is None else float(image.prediction == image.label) for image in _images(report)]
    )


def change_of(values: NDArray[np.float64], *, low: float = -1.0) -> Change:
    """The mean over images of shares or of differences of shares, between `low` and 1, with the interval that `compare` gives."""
    metric = mean_metric(values, n_pairs=len(values), higher_is_better=True, kind="share", low=low)
    return Change(
        value=math.nan if metric.value is None else metric.value,
        ci_low=metric.ci_low,
        ci_high=metric.ci_high,
        n_images=metric.n_images,
    )
