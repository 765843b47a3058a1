"""The doctor's findings on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from shiftaudit.render.terminal import Terminal, to_text

_STYLES = {"ok": "green", "note": "cyan", "warning": "yellow", "broken": "bold red"}


def render(rows: Sequence[tuple[str, str, str, str | None]], terminal: Terminal) -> str:
    """Rows of (name, status, what was found, what to do), and a last line that sums them up."""

    def draw(console: Console) -> None:
        table = Table.grid(padding=(0, 2, 0, 0))
        for _ in range(3):
            table.add_column(overflow="fold")
        for name, status, found, advice in rows:
            table.add_row(Text(status, style=_STYLES.get(status, "")), Text(name), Text(found))
            if advice is not None:
                table.add_row(Text(""), Text(""), Text(f"→ {advice}", style="bold"))
        console.print(table)
        console.print()
        console.print(Text(_summary([status for _, status, _, _ in rows]), style="bold"))

    return to_text(draw, terminal)


def _summary(statuses: Sequence[str]) -> str:
    broken, warnings = statuses.count("broken"), statuses.count("warning")
    if broken:
        things, these = ("1 thing is", "this is") if broken == 1 else (f"{broken} things are", "they are")
        return f"{things} broken: shiftaudit cannot score until {these} mended."
    if warnings:
        return f"Everything works; {warnings} {'thing' if warnings == 1 else 'things'} could be better."
    return "Everything works."
