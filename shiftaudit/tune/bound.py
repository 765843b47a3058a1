"""The most consistent copy whose harm is verified to be within a bound: search, refit, verify on images nobody fitted to."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shiftaudit.audit.audit import audit
from shiftaudit.errors import NoVerdictError
from shiftaudit.images.file import ImageFile
from shiftaudit.metrics.bounded import bounded_mean
from shiftaudit.models import LoadedModel
from shiftaudit.records.advise import Change
from shiftaudit.records.bound import ERROR_RATE, BoundOptions, Candidate, Measure, Search, images_needed, smallest_drop
from shiftaudit.records.patch import PatchOptions
from shiftaudit.records.refit import RefitSettings
from shiftaudit.records.report import AuditReport
from shiftaudit.records.settings import Settings
from shiftaudit.surgery.patch import patched
from shiftaudit.tune.advise import at_sites, change_of, consistency_of, correct_of, predictions_of, rank_sites
from shiftaudit.tune.refit import refit

HELD_SHARE = 0.5
RANKING_IMAGES = 64
"""Of the fitting share, on which sites and copies are put in order."""
FILTERS: tuple[tuple[int, float], ...] = ((3, 1.0), (3, 0.5), (3, 0.25), (5, 1.0))
"""Sizes and strengths that are tried where the options hold the defaults."""
CROPS = 200
_SHOWN = 3

Observer = Callable[[str], None]
"""Told what is done next."""


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The copy, None where there is none, and the record."""

    model: LoadedModel | None
    record: Search


@dataclass(frozen=True, eq=False)
class _Copy:
    """A refitted copy, and how it does on the fitting share."""

    model: LoadedModel
    options: PatchOptions
    harm: float
    gain: float


def search(
    model: LoadedModel,
    images: Sequence[ImageFile],
    bound: BoundOptions,
    options: PatchOptions | None = None,
    *,
    labels: Mapping[str, int] | None = None,
    seed: int = 0,
    observer: Observer | None = None,
) -> SearchResult:
    """Search sites, filter sizes and strengths; `Search` says how a copy is verified and chosen.

    Args:
        model: the original.
        images: half of them, by their bytes and the seed, are held out.
        bound: `max_drop` must be given; `images` and `labels` are for the command line.
        options: placement, padding and the sites that may be patched; a filter size or a strength other than the default is kept.
        labels: class by relative path; used where every image has one.

    Raises:
        InputError: no image can be read.
        PatchError: nothing to patch.
        NoVerdictError: there are too few images to verify the bound, whatever the copy.
    """
    assert bound.max_drop is not None
    labels = labels or {}
    fitting, held = shares(images, HELD_SHARE, seed)
    if smallest_drop(len(held)) > bound.max_drop + 1e-9:
        needed = images_needed(bound.max_drop)
        raise NoVerdictError(
            f"{len(held)} held-out images can verify a drop of {100 * smallest_drop(len(held)):.1f} % at best, not "
            f"{100 * bound.max_drop:.1f} %",
            hint=f"give {round(needed / HELD_SHARE)} images or more, or a larger --max-drop",
        )
    known = all(file.relative in labels for file in images)
    measure: Measure = "accuracy" if known else "agreement"
    protocol = Settings(protocol=bound.goal, stages=False, seed=seed)
    run = _Run(
        model,
        bound,
        options or PatchOptions(),
        protocol,
        labels if known else {},
        measure,
        observer or (lambda _: None),
    )
    return run.go(fitting, held)


def set_sizes(count: int) -> list[int]:
    """Sizes of the sets that are tried of so many sites, from all down to one.

    >>> set_sizes(5)
    [5, 3, 2, 1]
    """
    sizes = [count]
    while sizes[-1] > 1:
        sizes.append(-(-sizes[-1] // 2))
    return sizes


def refitted(model: LoadedModel, options: PatchOptions, images: Sequence[ImageFile], seed: int) -> LoadedModel:
    """A copy of the model that was patched as the options say, and refitted."""
    return refit(patched(model, options), model, images, RefitSettings(crops=CROPS, seed=seed)).model


def shares(files: Sequence[ImageFile], held: float, seed: int) -> tuple[list[ImageFile], list[ImageFile]]:
    """The images to fit on and those held out, by their bytes and the seed; of images with the same bytes one is used."""
    by_content = {file.sha256(): file for file in reversed(files)}
    ranked = sorted(by_content, key=lambda content: hashlib.sha256(f"{seed}:{content}".encode()).digest())
    count = round(held * len(ranked))
    return [by_content[content] for content in ranked[count:]], [by_content[content] for content in ranked[:count]]


class _Run:
    def __init__(
        self,
        model: LoadedModel,
        bound: BoundOptions,
        options: PatchOptions,
        settings: Settings,
        labels: Mapping[str, int],
        measure: Measure,
        observer: Observer,
    ) -> None:
        self.model, self.bound, self.options, self.settings = model, bound, options, settings
        self.labels, self.measure, self.observer = labels, measure, observer
        assert bound.max_drop is not None
        self.max_drop = bound.max_drop
        self.ends = time.monotonic() + bound.budget * 60

    def go(self, fitting: list[ImageFile], held: list[ImageFile]) -> SearchResult:
        """Fit on one share, verify on the other."""
        plans = self._plans(fitting[:RANKING_IMAGES])
        copies, n_fitted = self._fitted(plans, fitting)
        self.observer("verifying on held-out images")
        judge = _Judge(self, held)
        chosen = judge.choice(copies)
        record = Search(
            max_drop=self.max_drop,
            measure=self.measure,
            goal=self.bound.goal,
            n_fitting=len(fitting),
            n_held=len(held),
            fitting_sha256=tuple(file.sha256() for file in fitting),
            held_sha256=tuple(file.sha256() for file in held),
            n_fitted=n_fitted,
            n_planned=len(plans),
            original_measure=1.0 if self.measure == "agreement" else float(np.nanmean(correct_of(judge.original))),
            original_consistency=float(np.nanmean(self.consistency(judge.original))),
            candidates=tuple(judge.candidates),
            chosen=chosen,
        )
        return SearchResult(
            None if chosen is None else replace(judge.copies[chosen].model, search_record=record), record
        )

    def audit(self, model: LoadedModel, images: Sequence[ImageFile]) -> AuditReport:
        """The answers of a network under the protocols asked for."""
        return audit(model, images, self.settings, labels=self.labels)

    def consistency(self, report: AuditReport) -> NDArray[np.float64]:
        """Per image, the mean of the protocols."""
        mean: NDArray[np.float64] = np.mean([consistency_of(report, name) for name in report.protocols], axis=0)
        return mean

    def compared(self, original: AuditReport, copy: AuditReport) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Per image, in [-1, 1]: how far the measure falls from original to copy, and how far consistency rises."""
        if self.measure == "accuracy":
            harm = correct_of(original) - correct_of(copy)
        else:
            harm = (predictions_of(original) != predictions_of(copy)).astype(np.float64)
        return harm, self.consistency(copy) - self.consistency(original)

    def _plans(self, images: list[ImageFile]) -> list[PatchOptions]:
        """What to try: growing sets of sites, those that do most damage first, with every filter."""
        self.observer("ranking the sites")
        names = rank_sites(self.model, images, self.settings, self.options)
        default = PatchOptions()
        given = self.options.filter_size, self.options.strength
        filters = FILTERS if given == (default.filter_size, default.strength) else (given,)
        return [
            replace(at_sites(self.options, names[:n]), filter_size=size, strength=strength)
            for n in set_sizes(len(names))
            for size, strength in filters
        ]

    def _fitted(self, plans: list[PatchOptions], fitting: list[ImageFile]) -> tuple[list[_Copy], int]:
        """The plans refitted while there is time, without those that others beat on the fitting share; and how many were."""
        ranking = fitting[:RANKING_IMAGES]
        original = self.audit(self.model, ranking)
        count = 0
        kept: list[_Copy] = []
        for number, options in enumerate(plans, 1):
            if count and time.monotonic() > self.ends:
                break
            self.observer(f"refitting {number} of {len(plans)}: {_words(options)}")
            fitted = refitted(self.model, options, fitting, self.settings.seed)
            harm, gain = self.compared(original, self.audit(fitted, ranking))
            count += 1
            kept = _worth_keeping([*kept, _Copy(fitted, options, float(np.nanmean(harm)), float(np.nanmean(gain)))])
        return kept, count


def _front(copies: Sequence[_Copy]) -> list[_Copy]:
    """The copies that no other one beats in both harm and gain, from the least harm to the most."""
    kept: list[_Copy] = []
    for copy in sorted(copies, key=lambda one: (one.harm, -one.gain)):
        if not kept or copy.gain > kept[-1].gain:
            kept.append(copy)
    return kept


def _worth_keeping(copies: Sequence[_Copy]) -> list[_Copy]:
    """The front, and the best of the others where it alone is too few to show."""
    front = _front(copies)
    others = sorted((one for one in copies if one not in front), key=lambda one: one.harm - one.gain)
    return [*front, *others[: max(0, _SHOWN - len(front))]]


class _Judge:
    """The held-out images, and what they say of one copy after the other."""

    def __init__(self, run: _Run, held: Sequence[ImageFile]) -> None:
        self.run, self.held = run, held
        self.original = run.audit(run.model, held)
        self.copies: list[_Copy] = []
        self.candidates: list[Candidate] = []

    def choice(self, copies: Sequence[_Copy]) -> int | None:
        """Test the front in order up to the first that fails; the last that passed, where its gain is sure.

        Without a choice up to three copies are looked at, to be shown.
        """
        for copy in _front(copies):
            if not self._look_at(copy, tested=True):
                break
        passed = [index for index, one in enumerate(self.candidates) if one.verified]
        if passed and (self.candidates[passed[-1]].gain.ci_low or 0.0) > 0:
            return passed[-1]
        for copy in [one for one in copies if one not in self.copies][: max(0, _SHOWN - len(self.copies))]:
            self._look_at(copy, tested=False)
        return None

    def _look_at(self, copy: _Copy, *, tested: bool) -> bool:
        """Whether a copy in the sequence passes."""
        harm, gain = self.run.compared(self.original, self.run.audit(copy.model, self.held))
        # Answers that are not the original's cannot be fewer than none; accuracy may rise.
        fall = bounded_mean(harm, -1.0 if self.run.measure == "accuracy" else 0.0, 1.0)
        change = Change(fall.mean, fall.bound(ERROR_RATE), fall.bound(1 - ERROR_RATE), fall.n)
        # The limit itself is within the bound; rounding of the quantile must not put it outside.
        verified = tested and fall.bound(1 - ERROR_RATE) <= self.run.max_drop + 1e-9
        record = copy.model.patch_record
        assert record is not None
        sites, options = tuple(site.name for site in record.patched), copy.options
        self.candidates.append(
            Candidate(
                sites,
                options.filter_size,
                options.strength,
                record.macs_after,
                change,
                change_of(gain),
                verified,
            )
        )
        self.copies.append(copy)
        return verified


def _words(options: PatchOptions) -> str:
    return f"{len(options.only)} sites, filter {options.filter_size}, strength {options.strength:g}"
