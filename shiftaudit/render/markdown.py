"""The report as GitHub-flavoured Markdown, for pull requests and wikis."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shiftaudit.metrics.vocabulary import label_of
from shiftaudit.records.report import AuditReport, Stage
from shiftaudit.records.words import Protocol
from shiftaudit.render import distance, findings, numbers, sentences

_SKIPPED_SHOWN = 10
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~@])")


def render(report: AuditReport) -> str:
    """The report at a glance, as Markdown ending in a newline."""
    model = report.model
    parts = [f"## Shift audit of {escape(model.source)}", _subtitle(report)]
    if report.degenerate:
        parts.append(f"> **Warning:** {escape(sentences.degenerate_text(report))}")
    parts.append(_verdicts(report))
    if report.protocols:
        parts.append(_metrics(report))
    parts += [_cause(report), _against(report)]
    parts.append(_stages(report))
    if report.data.skipped:
        parts.append(_skipped(report))
    parts.append(_used(report))
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """Text from outside so that Markdown and HTML show it literally, on one line.

    >>> escape("a|b_<i>"), escape("two\\nlines")
    ('a\\\\|b\\\\_&lt;i\\\\>', 'two lines')
    """
    one_line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return _SPECIAL.sub(r"\\\1", one_line.replace("&", "&amp;")).replace(r"\<", "&lt;")


def table(heading: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A pipe table; the columns in `right` are aligned right. Cells are taken as Markdown."""
    rule = ["---:" if column in right else "---" for column in range(len(heading))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heading, rule, *rows))


def _subtitle(report: AuditReport) -> str:
    data, model = report.data, report.model
    weights = f", weights {escape(model.weights)}" if model.weights else ""
    labelled = f", {data.n_labelled} labelled" if data.n_labelled else ""
    return f"{escape(model.kind)}{weights}; {numbers.counted(data.n_images, 'image')}{labelled}"


def _verdicts(report: AuditReport) -> str:
    lines = []
    for protocol, result in report.protocols.items():
        more = [text for text in (sentences.worst_shift_text(result),) if text]
        words = " ".join([sentences.consistency_sentence(result), *more])
        lines.append(f"- **{escape(sentences.protocol_title(report, protocol))}.** {escape(words)}")
    return "\n".join(lines)


def _metrics(report: AuditReport) -> str:
    rows = []
    for name in findings.metric_names(report.protocols.values()):
        row = [escape(label_of(name))]
        for result in report.protocols.values():
            row.append(escape(numbers.metric_text(name, result.metrics.get(name))))
        rows.append(row)
    rows.append(["near ties", *(f"{r.n_near_ties:,} of {r.n_predictions:,}" for r in report.protocols.values())])
    heading = ["Measure [95 %]".replace("[", "\\[").replace("]", "\\]"), *(escape(name) for name in report.protocols)]
    return table(heading, rows, right=range(1, len(heading)))


def _cause(report: AuditReport) -> str:
    words, bins = escape(" ".join(sentences.cause_texts(report))), distance.bins_of(report)
    if not words and not bins:
        return ""
    heading = ["Moved by", "Views", "Change", "Same answer", "Aliasing alone", "Border alone", "A filter wins at most"]
    rows = [
        [row.distance, row.views, row.change, row.agreement, row.aliasing, row.border, row.ceiling]
        for row in distance.rows(bins)
    ]
    parts = [
        "### Why answers change" if words else "### Change against the distance moved",
        words,
        table(heading, rows, right=range(1, len(heading))) if rows else "",
    ]
    below = f"<sub>Change: {distance.UNIT}.</sub>"
    return "\n\n".join(part for part in (*parts, below) if part)


def _against(report: AuditReport) -> str:
    if report.against is None:
        return ""
    return f"**Against {escape(report.against.source)}:** {escape(' '.join(sentences.against_texts(report.against)))}"


def _stages(report: AuditReport) -> str:
    protocol = findings.stage_protocol(report)
    parts = []
    if report.stages:
        worst = findings.worst_stage(report)
        rows = [_stage_row(stage, protocol, index == worst) for index, stage in enumerate(report.stages)]
        heading = ["Stage", "Op", "Stride", "Size", "Error in", "Error out", "Damage \\[95 %\\]"]
        what = f"Equivariance error, {protocol or 'not measured'}: 0 means that features just move along, 1 that they are no "
        what += "closer than another image's."
        title = f"### Stages, input to output\n\n{escape(' '.join([what, *sentences.stage_notes(report)]))}"
        parts.append(title + "\n\n" + table(heading, rows, right=range(2, 7)))
    parts += [f"- not measured: {escape(str(skipped))}" for skipped in report.skipped_stages]
    return "\n".join(parts[:1]) + ("\n\n" if parts[1:] else "") + "\n".join(parts[1:])


def _stage_row(stage: Stage, protocol: Protocol | None, marked: bool) -> list[str]:
    cells = [
        escape(stage.name),
        escape(stage.op),
        numbers.pair_text(stage.stride),
        numbers.sizes_text(stage.input_size, stage.output_size),
        *(numbers.number(error, 3) for error in findings.stage_errors(stage, protocol)),
        escape(numbers.metric_text("damage", stage.damage.variation if stage.damage else None)),
    ]
    return [f"**{cell}**" for cell in cells] if marked else cells


def _skipped(report: AuditReport) -> str:
    skipped = report.data.skipped
    lines = [f"- {escape(entry.path)}: {escape(entry.reason)}" for entry in skipped[:_SKIPPED_SHOWN]]
    if len(skipped) > _SKIPPED_SHOWN:
        lines.append(f"- and {len(skipped) - _SKIPPED_SHOWN} more")
    return f"### Skipped files ({len(skipped)})\n\n" + "\n".join(lines)


def _used(report: AuditReport) -> str:
    return (
        f"<sub>Input: {escape(sentences.preprocessing_text(report.model.preprocessing))}. "
        f"Views: {escape(sentences.shifts_text(report))}. torch {escape(report.environment.torch)}, "
        f"shiftaudit {escape(report.tool_version)}.</sub>"
    )
