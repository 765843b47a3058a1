"""What a report comes to, and what to do now: shared by the terminal and the page."""

from __future__ import annotations

import shlex
from pathlib import PurePath
from typing import Literal

from shiftaudit.records.report import AuditReport, ProtocolResult
from shiftaudit.render import findings
from shiftaudit.render.numbers import counted, metric_text, percent, points, points_interval
from shiftaudit.render.sentences import damage_images

Part = Literal["none", "no sign", "unsure", "some", "most"]
"""What aliasing has to do with the answers that change."""

_PART_WORDS: dict[Part, str] = {
    "none": ", not by aliasing: a filter has nothing to win.",
    "no sign": "; these images show no sign of aliasing.",
    "unsure": "; too few to say whether by aliasing.",
    "some": ", partly by aliasing.",
    "most": ", mostly by aliasing.",
}

GUESS = "Guessed: the file does not say. Set --mean, --std and --size."


def part_of_aliasing(report: AuditReport) -> Part | None:
    """How much of the changed answers is aliasing, as far as the interval tells; None where it was not measured."""
    if report.cause is None:
        return None
    if findings.nothing_to_win(report):
        return "none"
    if findings.no_sign_of_a_win(report):
        return "no sign"
    split = report.cause.answers
    share, observed = split.aliasing_share, split.observed.value or 0.0
    if share.ci_low is None or share.ci_low <= 0:
        return "unsure"
    return "most" if (share.value or 0.0) > observed / 2 else "some"


def n_changed(report: AuditReport) -> int:
    """How many images change their answer under some tried shift."""
    return sum(1 for image in report.per_image if findings.flips(image)[0])


def verdict_text(report: AuditReport) -> str:
    """The report in a sentence or two."""
    if report.degenerate:
        return (
            f"No verdict: {percent(report.top_class_share)} of the images got one and the same answer, and a model that always "
            "says the same is perfectly consistent. Check the preprocessing (--mean, --std, --size) and the weights."
        )
    if not report.per_image:
        return "No verdict: no image was scored."
    changed, total = n_changed(report), len(report.per_image)
    if not changed:
        return f"No tried shift changes the answer of {'the only image' if total == 1 else f'any of the {total:,} images'}."
    part = part_of_aliasing(report)
    text = f"{changed:,} of {counted(total, 'image')} {'changes its' if changed == 1 else 'change their'} answer under some shift"
    return text + (_PART_WORDS[part] if part is not None else ".")


def cause_texts(report: AuditReport) -> list[tuple[str, str]]:
    """What causes the change and what a filter could win of it, as (label, text); none where it was not measured."""
    cause = report.cause
    if cause is None or not cause.answers.observed.value:
        return []
    split, part = cause.answers, part_of_aliasing(report)
    whole = f"of {points(split.observed)} % changed answers"
    if part in ("none", "no sign"):
        return [("cause", f"{whole}, none is aliasing: padding and edges do it")]
    share, interval = points(split.aliasing_share), points_interval(split.aliasing_share)
    known = f", {share} points are aliasing" if part != "unsure" else "; by aliasing: unknown"
    return [
        ("cause", f"{whole}{known} {interval}".rstrip()),
        (
            "a filter",
            f"can win at most {points(split.ceiling)} points {points_interval(split.ceiling)}, padding and edges stay",
        ),
    ]


def taught_text(report: AuditReport) -> str | None:
    """A warning where the model was taught on images that it is judged on."""
    taught = report.model.n_taught(image.id for image in report.per_image)
    if not taught:
        return None
    return f"The model was refitted or tuned on {taught:,} of these images, so these numbers are too good: score it on others."


def accuracy_of(result: ProtocolResult) -> str:
    """Unmoved, shifted, and at the worst shift of each image; empty without labels."""
    unmoved, *others = (result.metrics.get(name) for name in ("accuracy", "accuracy_shifted", "accuracy_worst"))
    if unmoved is None or unmoved.value is None:
        return ""
    words = [f"{metric_text('accuracy', unmoved)} unmoved"]
    for metric, where in zip(others, ("shifted", "at the worst shift of each image"), strict=True):
        if metric is not None and metric.value is not None:
            words.append(f"{percent(metric.value)} {where}")
    return ", ".join(words)


def accuracy_text(report: AuditReport) -> str:
    """Unmoved with its interval, and the mean over the shifts of each protocol; empty without labels."""
    unmoved, moved = "", []
    for protocol, result in report.protocols.items():
        metric, shifted = result.metrics.get("accuracy"), result.metrics.get("accuracy_shifted")
        if metric is not None and metric.value is not None:
            unmoved = metric_text("accuracy", metric)
        if shifted is not None and shifted.value is not None:
            moved.append(f"{percent(shifted.value)} ({protocol})")
    return "; shifted ".join(filter(None, (unmoved, ", ".join(moved))))


def lead_text(report: AuditReport) -> str:
    """The verdict, and where most of the damage is done."""
    worst = findings.worst_stage(report)
    text = verdict_text(report)
    if worst is None:
        return text
    few = damage_images(report.stages[worst])
    return f"{text} The stage `{report.stages[worst].name}` does most damage{f' (on {few})' if few else ''}."


def next_step(report: AuditReport) -> str:
    """What to do now."""
    if report.degenerate:
        return "Next: make the model answer sensibly first; see `shiftaudit explain degenerate`."
    if report.per_image and not any(findings.flips(image)[0] for image in report.per_image):
        return "Next: `shiftaudit baseline save` keeps this for `shiftaudit gate` to judge against."
    part = part_of_aliasing(report)
    if part == "none":
        return "Next: look at padding and at how the images are framed; see `shiftaudit explain cause`."
    if part in ("no sign", "unsure"):
        return "Next, look closer: more images or `--damage 8`; see `shiftaudit explain cause`."
    if report.model.kind == "runner":
        return "Next: patch the network that the runner runs."
    if not report.protocol.stages:
        return "Next: score without `--no-stages`; the report then says why answers change, and where."
    source, suffix = report.model.source, "onnx" if report.model.kind == "onnx" else "pt"
    stem = PurePath(source.rsplit(":", 1)[-1]).stem or "model"
    return f"Next, a filtered copy: `shiftaudit patch {shlex.quote(source)} -o {shlex.quote(stem)}-aa.{suffix} --refit IMAGES`"
