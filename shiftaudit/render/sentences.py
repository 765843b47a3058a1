"""What a report says, in sentences: shared by the terminal table, Markdown and HTML."""

from __future__ import annotations

from shiftaudit.records.against import Against
from shiftaudit.records.cause import Cause, Damage
from shiftaudit.records.metric import Metric
from shiftaudit.records.report import AuditReport, Preprocessing, ProtocolResult, Stage
from shiftaudit.records.words import CIRCULAR, CROP, UNSHIFTED, Protocol
from shiftaudit.render import findings
from shiftaudit.render.numbers import (
    counted,
    interval_text,
    number,
    odds,
    pair_text,
    percent,
    points,
    points_interval,
    shift_text,
)

_SURE = 0.05
"""Above this p-value the worst shift may be so by chance."""


def class_name(report: AuditReport, index: int) -> str:
    """The class's name where the model brings names, its number otherwise."""
    names = report.class_names
    return names[index] if names is not None and 0 <= index < len(names) else f"class {index}"


def protocol_title(report: AuditReport, protocol: Protocol) -> str:
    """What is done to the images under a protocol, in words."""
    how = " with wrap-around" if protocol == CIRCULAR else ", real pixels coming in"
    return f"Moved by up to {report.protocol.max_shift(protocol)} px{how} ({protocol})"


def consistency_sentence(result: ProtocolResult) -> str:
    """The verdict of one protocol, at a glance."""
    metric = result.metrics.get("consistency")
    if metric is None or metric.value is None:
        return "Consistency could not be measured."
    words = f"Same answer for {percent(metric.value)} of pairs"
    interval = interval_text("consistency", metric)
    words += f" {interval}" if interval else ""
    flips = 1 - metric.value
    return (
        f"{words}; it changes {odds(flips)}."
        if 0 < flips < 1
        else f"{words}; it {'never' if flips <= 0 else 'always'} changes."
    )


def worst_shift_text(result: ProtocolResult) -> str | None:
    """Where answers change most often, None where none changes or none was tried."""
    worst = result.worst_shift
    if worst is None or not worst.n_views or worst.n_agree == worst.n_views:
        return None
    where = shift_text((worst.dy, worst.dx))
    place = f"around {where} ±{worst.half_width} px" if worst.half_width else f"at {where}"
    found = f"{percent(1 - worst.n_agree / worst.n_views)} of {worst.n_views:,}"
    if worst.p_value is None or worst.n_cells is None:
        return f"Answers change most {place}: {found}."
    chosen = f"the largest of {worst.n_cells:,} {'cells' if worst.half_width else 'shifts'}, p = {worst.p_value:.3f}"
    text = f"Answers change most {place}: {found}, {chosen}."
    return text if worst.p_value <= _SURE else f"No shift is surely worse than another. {text}"


def preprocessing_text(used: Preprocessing) -> str:
    """How the pixels were prepared, in one line."""
    kind = "grey" if used.channels == 1 else "RGB"
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (used.mean, used.std))
    return (
        f"{kind} {used.size}×{used.size}, resized to {used.resize} ({used.interpolation}), "
        f"mean {mean}, std {std} (from {used.source})"
    )


def short_preprocessing_text(used: Preprocessing) -> str:
    """The same with the resize's filter left out, and one number where all channels have the same."""
    kind = "grey" if used.channels == 1 else "RGB"
    mean, std = (
        ", ".join(f"{value:.4g}" for value in (values[:1] if len(set(values)) == 1 else values))
        for values in (used.mean, used.std)
    )
    return f"{kind} {used.size}×{used.size} cut from {used.resize}, mean {mean}, std {std} (from {used.source})"


def shifts_text(report: AuditReport) -> str:
    """Which views were made, in one line."""
    info = report.protocol
    count = f"{info.shifts} random shifts per image" if info.shifts.isdecimal() else f"shifts {info.shifts}"
    preset = f"preset {info.preset}, " if info.preset else ""
    return f"{preset}{count}, seed {info.seed}, canvas {info.canvas}×{info.canvas}, protocol {info.protocol_hash[:12]}"


def made_of(report: AuditReport) -> str:
    """The model, the images and how they were moved, in one line."""
    model, data = report.model, report.data
    parts = [
        model.kind,
        f"weights {model.weights}" if model.weights else "",
        counted(data.n_images, "image"),
        f"{data.n_labelled:,} labelled" if data.n_labelled else "no labels",
        views_text(report),
    ]
    return ", ".join(part for part in parts if part)


def views_text(report: AuditReport) -> str:
    """How each image was moved, in a few words."""
    shifts = report.protocol.shifts
    if shifts.isdecimal():
        times = {"1": "once", "2": "twice"}.get(shifts, f"{shifts} times")
        return f"each moved {times} at random" + (" under each protocol" if len(report.protocols) > 1 else "")
    return "each moved along the diagonal" if shifts == "diagonal" else f"each moved to every shift of {shifts}"


def degenerate_text(report: AuditReport) -> str:
    """The warning of a model that answers (nearly) always the same."""
    return (
        f"{percent(report.top_class_share)} of the images got one and the same answer. A model that always says the same is "
        "perfectly consistent, so the numbers here prove nothing. Check the preprocessing (--mean, --std, --size) and "
        "the weights."
    )


def cause_texts(report: AuditReport) -> list[str]:
    """Why answers change, in a sentence or three; none where it was not measured."""
    cause = report.cause
    if cause is None:
        return []
    split = cause.answers
    of = f"Of {cause.n_views:,} views taken apart ({cause.protocol})"
    if not split.observed.value:
        lines = [f"{of}, none changes the answer."]
    elif findings.nothing_to_win(report):
        lines = [
            f"{of}, {points(split.observed)} % change the answer, none of it by aliasing: padding, edges and whatever else "
            "depends on place do. A filter has nothing to win."
        ]
    else:
        lines = [
            f"{of}, {points(split.observed)} % change the answer. Aliasing accounts for {points(split.aliasing_share)} points "
            f"of them {points_interval(split.aliasing_share)}; padding, edges and whatever else depends on place for the rest.",
            f"Aliasing alone changes {points(split.aliasing)} %, the rest alone {points(split.border)} %: a filter can win at "
            f"most {points(split.ceiling)} points {points_interval(split.ceiling)}.",
        ]
    if cause.left_out:
        lines.append(f"Not sampled elsewhere, so counted with the border: {', '.join(cause.left_out)}.")
    return lines + geometry_texts(report)


def ceiling_text(ceiling: Metric) -> str:
    """What a filter could win at most, in a sentence."""
    if not ceiling.value:
        return "A filter has nothing to win on these images: where stages sample changes no answer."
    interval = f" {points_interval(ceiling)}" if ceiling.ci_low is not None else ""
    most = f"{points(ceiling)} points{interval}"
    return f"A perfect filter could win at most {most} of agreement with the unshifted answer on these images."


def causes_text(before: Cause | None, after: Cause | None) -> str:
    """What a filter could win of an original and what its copy won of that, in a few sentences; empty where not measured."""
    if before is None:
        return ""
    text = ceiling_text(before.answers.ceiling)
    if after is None:
        return text
    parts = [
        f"{points(cause.answers.aliasing_share)} {points_interval(cause.answers.aliasing_share)}".rstrip()
        for cause in (before, after)
    ]
    rest = [points(cause.answers.border) for cause in (before, after)]
    return (
        f"{text} Aliasing causes {parts[0]} points of changed answers in the original and {parts[1]} in the copy; the border "
        f"alone changes {rest[0]} % and {rest[1]} %."
    )


def apart_text(report: AuditReport) -> str | None:
    """How many images were taken apart and what that cost, in one line; None where none was."""
    cause = report.cause
    if cause is None or not report.per_image:
        return None
    one = cause.n_views == cause.n_images
    answers = sum(1 + sum(len(views.shifts) for views in image.views.values()) for image in report.per_image)
    return (
        f"{'one view of each' if one else f'{cause.n_views:,} views'} of {cause.n_images:,} of "
        f"{counted(len(report.per_image), 'image')}; {cause.n_answers:,} answers beside {answers:,}"
    )


def damage_images(stage: Stage) -> str:
    """How many images a stage's damage is of, where they are too few for an interval; empty otherwise."""
    variation = None if stage.damage is None else stage.damage.variation
    return counted(variation.n_images, "image") if variation is not None and variation.ci_low is None else ""


def damage_interval(stage: Stage) -> str:
    """The interval of a stage's damage in probability; empty where there is none."""
    return "" if stage.damage is None else interval_text("damage", stage.damage.variation)


def stage_notes(report: AuditReport) -> list[str]:
    """How the columns of the stages hang together, in sentences."""
    lines = []
    grids = findings.together(report)
    if grids and report.cause is not None:
        total = sum(grid.variation.value or 0.0 for grid in grids)
        lines.append(
            f"Damage: mean total variation of the probabilities when these stages alone sample elsewhere. Sum {number(total)}; "
            f"all at once {number(report.cause.variation.aliasing.value)}."
        )
    borders = [f"{grid.together[0]} {share}" for grid in grids if (share := _border_share(grid)) is not None]
    if borders:
        lines.append(f"What borders have in it: {', '.join(borders)}; the rest is left where all padding is circular.")
    if any(len(grid.together) > 1 for grid in grids):
        lines.append("Stages between the same two strides sample together and share one number.")
    constant = [
        f"{stage.n_constant} of {stage.channels} at {stage.name}" for stage in report.stages if stage.n_constant
    ]
    if constant:
        lines.append(f"Channels that hold one value everywhere, left out of the error: {', '.join(constant)}.")
    floors = [errors.floor for stage in report.stages for errors in stage.errors.values() if errors.floor]
    if floors and findings.stage_protocol(report) == CROP:
        lines.append(f"Of an error under crop, interpolation alone may account for up to {number(max(floors), 3)}.")
    if report.stages and report.n_calibration < 2:
        lines.append("Too few images to say what another image is; an error of 1 is that of uncorrelated maps.")
    return lines


def _border_share(damage: Damage) -> str | None:
    """What borders have in a stage's damage, in per cent of it; None where it was not measured, or nothing is damaged."""
    whole, border = damage.variation.value, damage.border.value if damage.border else None
    if not whole or border is None or whole <= findings.NO_DAMAGE:
        return None
    return f"{100 * border / whole:.0f} %".replace("-", "−")


def geometry_texts(report: AuditReport) -> list[str]:
    """The stages whose grid does not fit the input, in a sentence; none where all fit."""
    size = report.model.preprocessing.size
    odd = [stage for stage in report.stages if not stage.fits]
    if not odd:
        return []
    first = odd[0]
    return [
        f"The grid itself moves at {len(odd)} of {len(report.stages)} stages: the input of {size} px is not stride × map, from "
        f"{first.name} on ({pair_text(first.stride)} × {pair_text(first.output_size)} "
        "px). That part of a change is neither aliasing nor padding; it is counted with the border."
    ]


def against_texts(against: Against) -> tuple[str, str]:
    """What a model and another form of it have in common, and where they differ most."""
    metric, far = against.agreement, against.farthest
    interval = interval_text("agreement", metric)
    same = (
        f"the same answer to {percent(metric.value)} of {metric.n_pairs:,} views{f' {interval}' if interval else ''}."
    )
    where = "not moved" if far.role == UNSHIFTED else f"{far.role} {shift_text(far.shift)} px"
    return same, (
        f"They differ most on {far.path}, {where}: by {far.probability:.1e} in a probability, and by {far.logit:.1e} in a logit, "
        f"the largest of which is {against.largest_logit:.3g}."
    )
