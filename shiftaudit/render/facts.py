"""What a report says, as sentences and picked rows: shared by the terminal table, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterable

from shiftaudit.metrics.terms import METRICS
from shiftaudit.metrics.vocabulary import kind_of
from shiftaudit.records.report import AuditReport, ImageResult, Metric, Preprocessing, ProtocolResult, Stage

_KNOWN = {term.name: place for place, term in enumerate(METRICS)}


def percent(share: float | None, digits: int = 1) -> str:
    """A share as per cent; a value that only rounding would make perfect (or zero) is not shown as such.

    >>> percent(0.9123), percent(None), percent(0.99997), percent(1.0)
    ('91.2 %', '–', '> 99.9 %', '100 %')
    """
    if share is None:
        return "–"
    if share in (0.0, 1.0):
        return f"{share * 100:.0f} %"
    edge = 10.0**-digits
    if share * 100 > 100 - edge / 2:
        return f"> {100 - edge:.{digits}f} %"
    if share * 100 < edge / 2:
        return f"< {edge:.{digits}f} %"
    return f"{share * 100:.{digits}f} %"


def number(value: float | None, digits: int | None = None) -> str:
    """A small number with `digits` places behind the point, or else with three places that matter.

    >>> number(0.03456), number(0.3456), number(0.3456, 4), number(0.0), number(2e-7), number(None)
    ('0.0346', '0.346', '0.3456', '0', '2e-07', '–')
    """
    if value is None:
        return "–"
    if value == 0:
        return "0"
    if abs(value) < 5e-5:
        return f"{value:.0e}"
    return f"{value:.{digits or (3 if abs(value) >= 0.1 else 4)}f}"


def signed(pixels: int) -> str:
    """A shift along one axis with its sign, zero without: `+3`, `−3`, `0`."""
    return f"+{pixels}" if pixels > 0 else f"−{-pixels}" if pixels < 0 else "0"


def value_text(name: str, metric: Metric) -> str:
    """A metric's value as text, in the unit of its name."""
    return percent(metric.value) if kind_of(name) == "share" else number(metric.value)


def interval_text(name: str, metric: Metric) -> str:
    """A metric's interval as `[low, high]`, empty where there is none."""
    if metric.ci_low is None or metric.ci_high is None:
        return ""
    if kind_of(name) == "share":
        return f"[{metric.ci_low * 100:.1f}, {metric.ci_high * 100:.1f}]"
    return f"[{number(metric.ci_low)}, {number(metric.ci_high)}]"


def odds(share: float) -> str:
    """How often something with this share happens, in words.

    >>> odds(0.0), odds(1 / 11.2), odds(0.62), odds(1.0)
    ('never', 'in 1 of 11', 'in 6 of 10', 'always')
    """
    if share <= 0:
        return "never"
    if share >= 1:
        return "always"
    return f"in 1 of {round(1 / share):,}" if share < 0.4 else f"in {min(9, round(share * 10))} of 10"


def metric_names(protocols: Iterable[ProtocolResult]) -> list[str]:
    """The union of all metric names, known ones first in their fixed order, unknown ones behind in theirs."""
    names = dict.fromkeys(name for result in protocols for name in result.metrics)
    return sorted(names, key=lambda name: _KNOWN.get(name, len(_KNOWN)))


def protocol_title(report: AuditReport, protocol: str) -> str:
    """What is done to the pictures under a protocol, in words."""
    if protocol == "circular":
        return f"Moved by up to {report.protocol.max_shift_circular} px with wrap-around (circular)"
    if protocol == "crop":
        return f"Moved by up to {report.protocol.max_shift_crop} px, real pixels coming in (crop)"
    return f"Protocol {protocol}"


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


def added(stage: Stage, protocol: str) -> float | None:
    """What a stage adds to the equivariance error: output minus input, None where either was not measured."""
    errors = stage.errors.get(protocol)
    if errors is None or errors.output.value is None:
        return None
    return errors.output.value - (errors.input.value or 0.0)


def stage_protocol(report: AuditReport) -> str | None:
    """The protocol whose stage errors lead: circular where measured, since 0 means alias-free there."""
    for protocol in ("circular", *report.protocol.protocols):
        if any(protocol in stage.errors for stage in report.stages):
            return protocol
    return None


def worst_stage(report: AuditReport, protocol: str | None = None) -> int | None:
    """Index of the stage that adds most error, None when no stage adds any."""
    protocol = protocol or stage_protocol(report)
    if protocol is None:
        return None
    gains = [(added(stage, protocol) or 0.0, -index) for index, stage in enumerate(report.stages)]
    best = max(gains, default=(0.0, 0))
    return -best[1] if best[0] > 0 else None


def pair_text(pair: tuple[float, float]) -> str:
    """A pair (y, x) as one number where both are equal.

    >>> pair_text((4.0, 4.0)), pair_text((2.0, 1.0)), pair_text((14.93, 14.93))
    ('4', '2×1', '14.9')
    """
    y, x = (f"{value:.3g}" for value in pair)
    return y if y == x else f"{y}×{x}"


def class_name(report: AuditReport, index: int) -> str:
    """The class's name where the model brings names, its number otherwise."""
    names = report.class_names
    return names[index] if names is not None and 0 <= index < len(names) else f"class {index}"


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


def flips(image: ImageResult) -> tuple[int, int]:
    """(views whose answer differs from the unshifted one, views) over all protocols."""
    answers = [answer for views in image.views.values() for answer in views.predictions]
    return sum(answer != image.prediction for answer in answers), len(answers)


def least_stable(report: AuditReport, n: int) -> list[ImageResult]:
    """The `n` images whose answers change most often, worst first; images that never change are left out."""

    def badness(image: ImageResult) -> tuple[float, str]:
        changed, total = flips(image)
        return (-changed / total if total else 0.0, image.path)

    return sorted((image for image in report.per_image if flips(image)[0]), key=badness)[:n]


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


def views_text(report: AuditReport) -> str:
    """How each picture was moved, in a few words."""
    shifts = report.protocol.shifts
    if shifts.isdecimal():
        times = {"1": "once", "2": "twice"}.get(shifts, f"{shifts} times")
        return f"each moved {times} at random" + (" under each protocol" if len(report.protocols) > 1 else "")
    return "each moved along the diagonal" if shifts == "diagonal" else f"each moved to every shift of {shifts}"


def is_degenerate(report: AuditReport) -> bool:
    """Whether any protocol carries the degenerate flag."""
    return any(result.degenerate for result in report.protocols.values())


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
