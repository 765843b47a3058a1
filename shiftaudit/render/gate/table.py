"""A gate's result on a terminal: the decision first, then one row a rule."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from shiftaudit.records.gate import FAIL, INCONCLUSIVE, GateResult, Verdict
from shiftaudit.render.characters import clean
from shiftaudit.render.gate import words
from shiftaudit.render.terminal import Terminal, to_text

COLOURS = {FAIL: "bold red", INCONCLUSIVE: "bold yellow"}
PASS_COLOUR = "bold green"
_NAME_WIDTH = 30


def render(result: GateResult, terminal: Terminal | None = None) -> str:
    """The result as text of at most `terminal.width` columns."""
    return to_text(lambda console: _draw(console, result), terminal or Terminal())


def _draw(console: Console, result: GateResult) -> None:
    console.print(Text(clean(words.headline(result)), style=COLOURS.get(result.outcome, PASS_COLOUR)))
    console.print(Text(clean(words.subject(result))))
    _draw_verdicts(console, result.verdicts)
    for verdict in result.verdicts:
        for detail in words.notes(verdict):
            console.print(Text(clean(f"{words.label(result, verdict)}: {detail}")))
    for note in (*words.remarks(result), *(f"warning: {warning}" for warning in result.warnings)):
        console.print(Text(clean(note)))


def _draw_verdicts(console: Console, verdicts: Sequence[Verdict]) -> None:
    """One table; in a narrow terminal with names in two lines, and in one that is too narrow for that, sentences."""
    unlimited = console.options.update(max_width=1000)
    for split in (False, True):
        table = _table(verdicts, split=split)
        width = Measurement.get(console, unlimited, table)
        if width.maximum <= console.width or (split and width.minimum <= console.width):
            console.print(table)
            return
    for verdict in verdicts:
        outcome = Text(f"{verdict.outcome} ", style=COLOURS.get(verdict.outcome, PASS_COLOUR))
        console.print(outcome + Text(clean(f"{words.title(verdict)}: {words.sentence(verdict)}"), style="default"))


def _table(verdicts: Sequence[Verdict], *, split: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    names = [clean(words.title(verdict)).replace(".", ".\n" if split else ".", 1) for verdict in verdicts]
    width = max(len(line) for name in ("metric", *names) for line in name.splitlines())
    for heading in ("verdict", "metric", "was", "is", "found", "limit"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "limit")
    table.columns[1].width = min(width, _NAME_WIDTH)
    for verdict, name in zip(verdicts, names, strict=True):
        table.add_row(
            Text(verdict.outcome, style=COLOURS.get(verdict.outcome, PASS_COLOUR)),
            Text(name),
            Text(words.value(verdict, verdict.baseline)),
            Text(words.value(verdict, verdict.candidate)),
            Text(words.finding(verdict, unit=False)),
            Text(words.demand(verdict, unit=False)),
        )
    return table
