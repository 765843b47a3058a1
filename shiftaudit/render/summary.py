"""The report in a dozen lines: answers, accuracy, cause, worst stage, what the network was fed, and the verdict last."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from shiftaudit.records.report import AuditReport, ProtocolResult
from shiftaudit.render import findings, numbers, sentences, verdict
from shiftaudit.render.characters import clean
from shiftaudit.render.table import fold_name, headline
from shiftaudit.render.terminal import Terminal, to_text

_LABELS = 15
_MORE = "--full: all measures and stages; meanings: `shiftaudit explain`"


def render(report: AuditReport, terminal: Terminal | None = None) -> str:
    """What a report comes to, as text of at most `terminal.width` columns.

    Names and paths are shown literally, as in the tables.
    """
    return to_text(lambda console: _draw(console, report), terminal or Terminal())


def _draw(console: Console, report: AuditReport) -> None:
    headline(console, report)
    facts = Table.grid(padding=(0, 2, 0, 0))
    labels = min(_LABELS, console.width // 3)
    facts.add_column(width=labels, style="dim")
    facts.add_column(overflow="fold")
    for label, text, style in _facts(report, console.width - labels - 2):
        facts.add_row(Text(clean(label)), Text(clean(text), style=style))
    console.print(facts)
    console.print()
    console.print(Text(clean(verdict.verdict_text(report)), style="bold"))
    console.print(Text(clean(verdict.next_step(report)), style="cyan"))


def _facts(report: AuditReport, room: int) -> Iterator[tuple[str, str, str]]:
    """(label, text, style) of every line."""
    for protocol, result in report.protocols.items():
        yield f"{protocol} ±{report.protocol.max_shift(protocol)} px", _answers(result), ""
    if accuracy := verdict.accuracy_text(report):
        yield "accuracy", accuracy, ""
    yield from ((label, text, "") for label, text in verdict.cause_texts(report))
    worst = findings.worst_stage(report)
    if worst is not None:
        stage = report.stages[worst]
        moved = numbers.percent(findings.damage(stage))
        few = sentences.damage_images(stage)
        text = f"{fold_name(stage.name, room)}: damage {moved} {f'({few})' if few else 'of the probability'}"
        yield "worst stage", text, ""
    yield from (("stages", f"not measured: {entry.reason}", "") for entry in report.skipped_stages if entry.op is None)
    if report.against is not None:
        yield "against", f"{report.against.source}: {' '.join(sentences.against_texts(report.against))}", ""
    used = report.model.preprocessing
    yield "input", sentences.short_preprocessing_text(used), "yellow" if used.guessed else ""
    if used.guessed:
        yield "", verdict.GUESS, "yellow"
    taught = verdict.taught_text(report)
    if taught is not None:
        yield "training", taught, "yellow"
    if report.data.skipped:
        first, *others = report.data.skipped
        more = f", and {len(others)} more" if others else ""
        yield "skipped", f"{first.path}: {first.reason}{more}", "yellow"
    yield "more", _MORE, "dim"


def _answers(result: ProtocolResult) -> str:
    """How often two views get the same answer, and how often not."""
    metric = result.metrics.get("consistency")
    if metric is None or metric.value is None:
        return "consistency could not be measured"
    text = f"same answer for {numbers.percent(metric.value)} of pairs {numbers.interval_text('consistency', metric)}".rstrip()
    if not 0 < metric.value < 1:
        return text
    often = numbers.odds(1 - metric.value).removeprefix("in ").replace(" of ", " in ")
    return f"{text}; {often} {'differs' if often.startswith('1 ') else 'differ'}"
