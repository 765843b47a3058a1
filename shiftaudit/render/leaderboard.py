"""Many models side by side: a table for the terminal, and CSV."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shiftaudit.metrics.vocabulary import label_of
from shiftaudit.records.leaderboard import Entry, Leaderboard
from shiftaudit.render.characters import clean
from shiftaudit.render.numbers import metric_text
from shiftaudit.render.rows import Row, csv_text
from shiftaudit.render.table import fold_name
from shiftaudit.render.terminal import Terminal, to_text

FORMATS = ("table", "csv", "html", "json")
_NAME_WIDTH, _WIDE = 28, 100


def render(board: Leaderboard, terminal: Terminal | None = None) -> str:
    """The table, its warnings, and the models that failed; intervals where there is room."""
    return to_text(lambda console: _draw(console, board), terminal or Terminal())


def _draw(console: Console, board: Leaderboard) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("model", no_wrap=True)
    shown = [name for name in board.columns if console.width >= _WIDE or not name.endswith("accuracy_shifted")]
    for name in shown:
        table.add_column(heading(name), justify="right")
    for entry in (entry for entry in board.entries if entry.failure is None):
        table.add_row(
            Text(fold_name(clean(entry.model), _NAME_WIDTH)), *(Text(cell_text(entry, name)) for name in shown)
        )
    console.print(table)
    for entry in (entry for entry in board.entries if entry.failure is not None):
        console.print(Text(clean(f"failed: {entry.model}: {entry.failure}")))
    for warning in board.warnings:
        console.print(Text(clean(f"warning: {warning}")))


def heading(name: str) -> str:
    """What a column is called.

    >>> heading("crop.consistency"), heading("accuracy")
    ('consistency, crop', 'accuracy, unshifted')
    """
    protocol, _, metric = name.rpartition(".")
    return f"{label_of(metric)}, {protocol}" if protocol else label_of(metric)


def cell_text(entry: Entry, name: str) -> str:
    """A value with its interval."""
    return metric_text(name, entry.metric(name))


def render_csv(board: Leaderboard) -> str:
    """One row a model: each metric with both ends of its interval, as shares."""
    metrics = [f"{name}{end}" for name in board.columns for end in ("", "_low", "_high")]
    return csv_text(("model", "weights", "n_images", *metrics, "failure"), _rows(board))


def _rows(board: Leaderboard) -> Iterator[Row]:
    for entry in board.entries:
        row: Row = {
            "model": entry.model,
            "weights": entry.weights,
            "n_images": entry.n_images,
            "failure": entry.failure,
        }
        for name in board.columns:
            metric = entry.metric(name)
            if metric is not None:
                row |= {name: metric.value, f"{name}_low": metric.ci_low, f"{name}_high": metric.ci_high}
        yield row
