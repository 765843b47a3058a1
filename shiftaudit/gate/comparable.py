"""Whether two baselines were made of the same images and views, and what else differs between them. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from shiftaudit.errors import NoVerdictError
from shiftaudit.records.codec import plain
from shiftaudit.records.gate import Baseline, BaselineImage
from shiftaudit.records.report import Environment, ModelInfo, ProtocolInfo

# These decide only where feature maps were compared, not which answers were; the protocol's hash leaves them out too.
_NOT_DECISIVE = ("protocol_hash", "stages", "stage_views")


def require_same_conditions(candidate: Baseline, baseline: Baseline) -> None:
    """Raises NoVerdictError where protocols, images, views or labels are not the same on both sides."""
    require_same_protocol(candidate.protocol, baseline.protocol)
    _require_same_images(candidate, baseline)


def require_same_protocol(candidate: ProtocolInfo, baseline: ProtocolInfo) -> None:
    """Raises NoVerdictError naming the fields that differ when the two protocols make different views."""
    if candidate.protocol_hash == baseline.protocol_hash:
        return
    ours, theirs = asdict(candidate), asdict(baseline)
    differing = [key for key in ours if key not in _NOT_DECISIVE and ours[key] != theirs[key]] or ["protocol_hash"]
    details = ", ".join(f"protocol.{key} is {_show(ours[key])} and was {_show(theirs[key])}" for key in differing)
    raise NoVerdictError(
        f"the candidate was scored under another protocol than the baseline: {details}",
        hint="score it with the baseline's settings (`shiftaudit gate MODEL IMAGES` does), or save a new baseline",
    )


def _show(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def _require_same_images(candidate: Baseline, baseline: Baseline) -> None:
    """Raises NoVerdictError naming the field when images, their views or their labels are not the same on both sides."""
    ours, theirs = candidate.images, baseline.images
    if ours.keys() != theirs.keys() or candidate.data.manifest_sha256 != baseline.data.manifest_sha256:
        raise other_images(len(theirs.keys() - ours.keys()), len(ours.keys() - theirs.keys()), len(theirs))
    views = [key for key in theirs if _views(ours[key]) != _views(theirs[key])]
    if views:
        raise NoVerdictError(
            f"images.views differs: of {len(views)} of {len(theirs)} images the two sides hold other numbers of views, "
            f"such as {_views(ours[views[0]])} and formerly {_views(theirs[views[0]])}",
            hint="score the images again, or save a new baseline",
        )
    relabelled = [key for key in theirs if ours[key].label != theirs[key].label]
    labels = sum((ours[key].correct is None) != (theirs[key].correct is None) for key in theirs)
    if labels:
        raise NoVerdictError(
            f"data.n_labelled differs: {candidate.data.n_labelled} images are labelled in the candidate and "
            f"{baseline.data.n_labelled} in the baseline, {labels} of them on one side only",
            hint="pass the same --labels to both",
        )
    if relabelled:
        raise NoVerdictError(
            f"images.label differs: {len(relabelled)} of {len(theirs)} images have another label in the candidate, such as "
            f"{ours[relabelled[0]].label} and formerly {theirs[relabelled[0]].label}",
            hint="pass the labels that the baseline was made with, or save a new baseline",
        )


def other_images(missing: int, unknown: int, expected: int) -> NoVerdictError:
    """The error that the candidate was, or would be, scored on other images than the baseline."""
    return NoVerdictError(
        f"data.manifest_sha256 differs: the candidate lacks {missing} of the baseline's {expected} "
        f"images and has {unknown} that the baseline does not know",
        hint="score the same images, or save a new baseline",
    )


def _views(image: BaselineImage) -> dict[str, int]:
    return {protocol: counts.n_views for protocol, counts in sorted(image.views.items())}


def same_model(ours: ModelInfo, theirs: ModelInfo) -> bool:
    """Whether these are the very same weights, fed in the same way."""
    same_bytes = ours.sha256 is not None and ours.sha256 == theirs.sha256
    return same_bytes and plain(ours.preprocessing) == plain(theirs.preprocessing)


def judging_warnings(candidate: Baseline, baseline: Baseline) -> list[str]:
    """What makes a judgement say less than it seems to."""
    warnings = environment_differences(candidate.environment, baseline.environment)
    warnings += taught_warnings(*((one.model, one.images) for one in (candidate, baseline)))
    if candidate.tool_version != baseline.tool_version:
        warnings.append(
            f"shiftaudit {baseline.tool_version} made the baseline and {candidate.tool_version} the candidate"
        )
    if candidate.degenerate and baseline.degenerate:
        warnings.append("both models give (nearly) all images one answer, which is consistent and says nothing")
    if candidate.model.sha256 is not None and candidate.model.sha256 == baseline.model.sha256:
        warnings.append("the candidate is the very model the baseline was made of")
    if baseline.data.n_labelled == 0:
        warnings.append("no image has a label, so accuracy is not gated: a worse model can be more consistent")
    return warnings


def taught_warnings(*sides: tuple[ModelInfo, Iterable[str]]) -> list[str]:
    """One sentence for each model that was refitted or tuned on images it is judged on: (model, its images)."""
    found = ((model, ids, model.n_taught(ids)) for model, ids in ((model, tuple(ids)) for model, ids in sides))
    return [
        f"{model.source} was refitted or tuned on {taught:,} of these {len(ids):,} images, so its numbers are too good: judge "
        "it on others"
        for model, ids, taught in found
        if taught
    ]


def environment_differences(ours: Environment, theirs: Environment) -> list[str]:
    """One sentence if the numbers were computed with other versions or on another device; never an error."""
    a, b = asdict(ours), asdict(theirs)
    differing = [f"{key} {b[key]} → {a[key]}" for key in a if a[key] != b[key]]
    return [f"environments differ: {', '.join(differing)}"] if differing else []
