"""A gate's result on a terminal: the decision first, then one row a rule."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shiftaudit.records.gate import FAIL, INCONCLUSIVE, GateResult
from shiftaudit.render import gate_words as words
from shiftaudit.render.table import clean
from shiftaudit.render.terminal import Terminal, to_text

COLOURS = {FAIL: "bold red", INCONCLUSIVE: "bold yellow"}
PASS_COLOUR = "bold green"


def render(result: GateResult, terminal: Terminal | None = None) -> str:
    """The result as text of at most `terminal.width` columns."""
    return to_text(lambda console: _draw(console, result), terminal or Terminal())


def _draw(console: Console, result: GateResult) -> None:
    console.print(Text(clean(words.headline(result)), style=COLOURS.get(result.outcome, PASS_COLOUR)))
    console.print(Text(clean(f"{result.candidate_model} against the baseline of {result.baseline_model}")))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in ("verdict", "metric", "was", "is", "found", "accepted"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "accepted")
    for verdict in result.verdicts:
        table.add_row(
            Text(verdict.outcome, style=COLOURS.get(verdict.outcome, PASS_COLOUR)),
            Text(clean(verdict.name)),
            Text(words.value(verdict, verdict.baseline)),
            Text(words.value(verdict, verdict.candidate)),
            Text(words.finding(verdict, unit=False)),
            Text(words.demand(verdict, unit=False)),
        )
    console.print(table)
    for verdict in result.verdicts:
        if verdict.outcome == INCONCLUSIVE:
            console.print(Text(clean(f"{verdict.name}: {words.needed(verdict)}")))
        if verdict.flips is not None:
            console.print(Text(clean(f"{verdict.name}: {words.flips(verdict)}")))
    notes = [words.consequence(result), words.REFRESH if result.refresh_baseline else None]
    for note in (*notes, *(f"warning: {warning}" for warning in result.warnings)):
        if note:
            console.print(Text(clean(note)))
