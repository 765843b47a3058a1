"""Whether two baselines were made of the same images and views, and what else differs between them. No torch."""

from __future__ import annotations

from dataclasses import asdict

from shiftaudit.errors import NoVerdictError
from shiftaudit.records.gate import Baseline
from shiftaudit.records.report import Environment, ProtocolInfo

# These decide only where feature maps were compared, not which answers were; the protocol's hash leaves them out too.
_NOT_DECISIVE = ("protocol_hash", "stages", "stage_views")


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


def require_same_images(candidate: Baseline, baseline: Baseline) -> None:
    """Raises NoVerdictError naming the field when images or labels are not the same on both sides."""
    ours, theirs = set(candidate.images), set(baseline.images)
    if ours != theirs or candidate.data.manifest_sha256 != baseline.data.manifest_sha256:
        raise NoVerdictError(
            f"data.manifest_sha256 differs: the candidate lacks {len(theirs - ours)} of the baseline's {len(theirs)} "
            f"images and has {len(ours - theirs)} that the baseline does not know",
            hint="score the same images, or save a new baseline",
        )
    labels = [key for key in ours if (candidate.images[key].correct is None) != (baseline.images[key].correct is None)]
    if labels:
        raise NoVerdictError(
            f"data.n_labelled differs: {candidate.data.n_labelled} images are labelled in the candidate and "
            f"{baseline.data.n_labelled} in the baseline",
            hint="pass the same --labels to both",
        )


def environment_differences(ours: Environment, theirs: Environment) -> list[str]:
    """One sentence if the numbers were computed with other versions or on another device; never an error."""
    a, b = asdict(ours), asdict(theirs)
    differing = [f"{key} {b[key]} → {a[key]}" for key in a if a[key] != b[key]]
    return [f"environments differ: {', '.join(differing)}"] if differing else []
