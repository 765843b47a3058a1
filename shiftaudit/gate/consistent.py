"""Whether a baseline can be what an audit measured: its digest, its counts and its headline numbers tell one story. No torch.

A gate is judged by files that anybody may have edited or merged by hand. What contradicts itself is refused, never judged: a
baseline without protocols would pass everything. The digest finds slips. Whoever makes a new one can make any baseline, which is
why a change of the baseline is for a reviewer to see.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from shiftaudit.errors import InputError
from shiftaudit.files import sha256_of_set
from shiftaudit.metrics.columns import Outcomes
from shiftaudit.metrics.vocabulary import MEASURES
from shiftaudit.records.gate import Baseline, BaselineImage, ViewCounts
from shiftaudit.records.metric import Metric

_ROUNDING = 1e-5


def digest(data: dict[str, Any]) -> str:
    """SHA-256 of a baseline's JSON without its own digest, however it is laid out."""
    content = {key: value for key, value in data.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def require_consistent(baseline: Baseline, what: str, remake: str) -> None:
    """Raises InputError with the first contradiction; `what` names the file, `remake` the command that makes it again."""
    problem = next(_contradictions(baseline), None)
    if problem is not None:
        raise InputError(f"{what}{problem}", hint=f"make it again with `{remake}`")


def _contradictions(baseline: Baseline) -> Iterator[str]:
    data, images = baseline.data, baseline.images
    if len(images) != data.n_images:
        yield f" says it holds {data.n_images} images; found {len(images)}"
    labelled = sum(image.label is not None for image in images.values())
    if labelled != data.n_labelled:
        yield f" says that {data.n_labelled} images are labelled; found {labelled}"
    if images and sha256_of_set(images) != data.manifest_sha256:
        yield ": data.manifest_sha256 is not that of its images"
    protocols = baseline.protocol.protocols
    if not protocols or set(protocols) != set(baseline.metrics):
        yield f": protocol.protocols is {list(protocols)} and its metrics are those of {sorted(baseline.metrics)}"
    if not 0 <= baseline.top_class_share <= 1 and images:
        yield f": top_class_share is {baseline.top_class_share}; expected a share between 0 and 1"
    for key, image in images.items():
        yield from (f": image {key[:12]} {problem}" for problem in _of_image(image, protocols))
    yield from _of_stages(baseline.stages, len(images))
    yield from _headlines(baseline)
    anchor = baseline.anchor
    if anchor is not None:
        if unknown := len(anchor.images.keys() - images.keys()):
            yield f": its anchor holds {unknown} images that the baseline does not"
        for key, image in anchor.images.items():
            yield from (f": image {key[:12]} of its anchor {problem}" for problem in _of_image(image, protocols))
        yield from _of_stages(anchor.stages, len(images))
        if not baseline.anchored:
            yield " holds an anchor and says that it has none"


def _of_stages(stages: dict[str, dict[str, Metric]], n_images: int) -> Iterator[str]:
    for name, errors in stages.items():
        for protocol, metric in errors.items():
            if metric.value is not None and not 1 <= metric.n_images <= n_images:
                yield f": stage {name} has {metric.n_images} images for {protocol}; expected 1 to {n_images}"


def _of_image(image: BaselineImage, protocols: Sequence[str]) -> Iterator[str]:
    if (image.correct is None) != (image.label is None):
        yield f"has correct {image.correct} and label {image.label}; expected both or neither"
    if set(image.views) != set(protocols):
        yield f"has views of {sorted(image.views)}; expected {sorted(protocols)}"
    for protocol, counts in image.views.items():
        yield from _of_counts(protocol, image.correct, counts)


@lru_cache(maxsize=2**16)  # most images have the counts of many others
def _of_counts(protocol: str, correct: bool | None, counts: ViewCounts) -> tuple[str, ...]:
    limits = {
        "agreeing_pairs": (counts.agreeing_pairs, counts.n_pairs),
        "agreeing_with_unshifted": (counts.agreeing_with_unshifted, counts.n_views),
        "correct": (counts.correct, counts.n_views),
    }
    problems = [
        f"has {count} for {protocol}.{name}; expected 0 to {most}"
        for name, (count, most) in limits.items()
        if count is not None and not 0 <= count <= most
    ]
    if not _possible(correct, counts):
        problems.append(f"has counts for {protocol} that contradict each other")
    return tuple(problems)


def _possible(correct: bool | None, counts: ViewCounts) -> bool:
    """Views that agree with the unshifted one agree with each other; where it is right they are those that are right."""
    same, other = counts.agreeing_with_unshifted, counts.n_views - counts.agreeing_with_unshifted
    least = same * (same - 1) // 2
    if not least <= counts.agreeing_pairs <= least + other * (other - 1) // 2:
        return False
    if correct is None or counts.correct is None:
        return correct is None and counts.correct is None
    return counts.correct == same if correct else counts.correct <= other


def _headlines(baseline: Baseline) -> Iterator[str]:
    """Metrics that can be made from the counts are what the counts make."""
    for protocol, metrics in baseline.metrics.items():
        images = baseline.images.values()
        outcomes = Outcomes.of_counts(
            (image.correct for image in images), (image.views.get(protocol) for image in images)
        )
        for name, metric in metrics.items():
            measure = MEASURES.get(name)
            if measure is None or measure.by_counts is None or metric.value is None:
                continue
            values = outcomes.of(measure.of_counts)
            measured = values[~np.isnan(values)]
            found = math.fsum(measured) / len(measured) if len(measured) else math.nan
            if len(measured) != metric.n_images or not abs(found - metric.value) <= _ROUNDING:
                yield f" says {protocol}.{name} is {metric.value} of {metric.n_images} images; its counts give {found:.6g}"
