"""What a report says, in sentences: shared by the terminal table, Markdown and HTML."""

from __future__ import annotations

from shiftaudit.records.report import AuditReport, Preprocessing, ProtocolResult
from shiftaudit.records.words import CIRCULAR, Protocol
from shiftaudit.render.findings import flips, is_degenerate, worst_stage
from shiftaudit.render.numbers import images_text, interval_text, odds, percent, signed


def class_name(report: AuditReport, index: int) -> str:
    """The class's name where the model brings names, its number otherwise."""
    names = report.class_names
    return names[index] if names is not None and 0 <= index < len(names) else f"class {index}"


def protocol_title(report: AuditReport, protocol: Protocol) -> str:
    """What is done to the pictures under a protocol, in words."""
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
    where = f"({signed(worst.dy)}, {signed(worst.dx)})"
    place = f"around {where} ±{worst.half_width} px" if worst.half_width else f"at {where}"
    return f"Worst {place}: {percent(1 - worst.n_agree / worst.n_views)} of {worst.n_views:,} answers change."


def preprocessing_text(used: Preprocessing) -> str:
    """How the pixels were prepared, in one line."""
    kind = "grey" if used.channels == 1 else "RGB"
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (used.mean, used.std))
    return (
        f"{kind} {used.size}×{used.size}, resized to {used.resize} ({used.interpolation}), "
        f"mean {mean}, std {std} (from {used.source})"
    )


def shifts_text(report: AuditReport) -> str:
    """Which views were made, in one line."""
    info = report.protocol
    count = f"{info.shifts} random shifts an image" if info.shifts.isdecimal() else f"shifts {info.shifts}"
    preset = f"preset {info.preset}, " if info.preset else ""
    return f"{preset}{count}, seed {info.seed}, canvas {info.canvas}×{info.canvas}, protocol {info.protocol_hash[:12]}"


def made_of(report: AuditReport) -> str:
    """The model, the images and how they were moved, in one line."""
    model, data = report.model, report.data
    parts = [
        model.kind,
        f"weights {model.weights}" if model.weights else "",
        images_text(data.n_images),
        f"{data.n_labelled:,} labelled" if data.n_labelled else "no labels",
        views_text(report),
    ]
    return ", ".join(part for part in parts if part)


def views_text(report: AuditReport) -> str:
    """How each picture was moved, in a few words."""
    shifts = report.protocol.shifts
    if shifts.isdecimal():
        times = {"1": "once", "2": "twice"}.get(shifts, f"{shifts} times")
        return f"each moved {times} at random" + (" under each protocol" if len(report.protocols) > 1 else "")
    return "each moved along the diagonal" if shifts == "diagonal" else f"each moved to every shift of {shifts}"


def lead_sentence(report: AuditReport) -> str | None:
    """The whole report in a sentence or two: how many pictures change their answer, and where the damage is greatest.

    None where nothing can be said: no pictures, or a model that always answers the same.
    """
    if not report.per_image or is_degenerate(report):
        return None
    moved, total = sum(1 for image in report.per_image if flips(image)[0]), len(report.per_image)
    if not moved:
        whole = "of the only picture" if total == 1 else f"of any of the {total:,} pictures"
        return f"No tried shift changes the answer {whole}."
    text = f"{moved:,} of {total:,} pictures change their answer under some tried shift."
    worst = worst_stage(report)
    return text if worst is None else f"{text} The stage that adds most error is `{report.stages[worst].name}`."


def degenerate_text(report: AuditReport) -> str:
    """The warning of a model that answers (nearly) always the same."""
    share = max((result.top_class_share for result in report.protocols.values()), default=1.0)
    return (
        f"{percent(share)} of the pictures got one and the same answer. A model that always says the same is "
        "perfectly consistent, so the numbers here prove nothing. Check the preprocessing (--mean, --std, --size) and "
        "the weights."
    )


def padding_text(result: ProtocolResult) -> str | None:
    """What the shift by the total stride shows, None where it was not made."""
    check = result.padding
    if check is None or not check.n_images:
        return None
    changed = check.n_images - check.n_agree
    share = changed / check.n_images
    verdict = "no answer changes there" if not changed else f"{percent(share)} of answers still change there"
    return (
        f"A shift by the total stride ({signed(check.shift[0])}, {signed(check.shift[1])}) cannot alias: {verdict}"
        + ("." if not changed else ", because of padding at the border.")
    )


def next_step(report: AuditReport) -> str:
    """What to do now."""
    if is_degenerate(report):
        return "Next: make the model answer sensibly before measuring it; `shiftaudit explain degenerate` says why."
    stem = report.model.source.rsplit(":", 1)[-1].rsplit(".", 1)[0] or "model"
    return (
        f"Next: `shiftaudit patch {report.model.source} -o {stem}-aa.pt` writes an anti-aliased copy (it "
        "answers worse until `shiftaudit tune` has taught it); `shiftaudit explain consistency` says what a number means."
    )
