"""Two reports side by side, on a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shiftaudit.records import codec
from shiftaudit.records.gate import Comparison, MetricComparison, StageComparison
from shiftaudit.render import markdown
from shiftaudit.render.characters import clean
from shiftaudit.render.findings import surely
from shiftaudit.render.numbers import about, change_text, number, value_text
from shiftaudit.render.table import fold_name, room_of_names
from shiftaudit.render.terminal import Terminal, to_text

FORMATS = ("table", "json", "markdown")
_METRIC_HEADING = ("metric", "A", "B", "B − A [95 %]", "B is")
_VERDICT_WIDTH = len("better")
_STAGE_HEADING = ("stage (equivariance error, output)", "A", "B", "B − A")


def render_comparison(comparison: Comparison, form: str, terminal: Terminal | None = None) -> str:
    """The comparison as text in one of FORMATS, ending in a newline. `terminal` limits the table only."""
    if form == "json":
        return codec.dumps(comparison)
    if form == "markdown":
        return _markdown(comparison)
    return to_text(lambda console: _draw(console, comparison), terminal or Terminal())


def _draw(console: Console, comparison: Comparison) -> None:
    for line in _headlines(comparison):
        console.print(Text(clean(line)))
    for heading, rows in _tables(comparison):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        for column, title in enumerate(heading):
            table.add_column(
                title,
                justify="right" if column in (1, 2) else "left",
                overflow="fold",
                no_wrap=column in (1, 2, 3),  # names may take two lines, numbers are never cut
                min_width=_VERDICT_WIDTH if column == 4 else None,
            )
        shown = [[clean(cell) for cell in row] for row in (_by_protocol(rows) if heading is _METRIC_HEADING else rows)]
        room = room_of_names(heading, [row[1:] for row in shown], console.width)
        for name, *cells in shown:
            table.add_row(*map(Text, (_folded(name, room), *cells)))
        console.print(table)
    for warning in comparison.warnings:
        console.print(Text(clean(f"warning: {warning}")))


def _folded(name: str, room: int) -> str:
    """The name in lines that are indented like the first, broken where `fold_name` does."""
    bare = name.lstrip()
    indent = " " * (len(name) - len(bare))
    return indent + fold_name(bare, room - len(indent)).replace("\n", f"\n{indent}")


def _by_protocol(rows: list[list[str]]) -> list[list[str]]:
    """The rows under a line for each protocol, so that their names leave room for the verdict at 80 columns."""
    groups: dict[str, list[list[str]]] = {}
    for name, *rest in rows:
        protocol, _, metric = name.rpartition(".")
        groups.setdefault(protocol, []).append([f"  {metric}" if protocol else metric, *rest])
    headed = [row for protocol in sorted(groups) for row in ([[protocol]] if protocol else []) + groups[protocol]]
    return [row + [""] * (len(_METRIC_HEADING) - len(row)) for row in headed]


def _markdown(comparison: Comparison) -> str:
    parts = ["## Shift comparison", "  \n".join(markdown.escape(line) for line in _headlines(comparison))]
    for heading, rows in _tables(comparison):
        cells = [[markdown.escape(cell) for cell in row] for row in rows]
        parts.append(markdown.table([markdown.escape(title) for title in heading], cells, right=(1, 2)))
    parts.append("\n".join(f"- Warning: {markdown.escape(warning)}" for warning in comparison.warnings))
    return "\n\n".join(part for part in parts if part) + "\n"


def _headlines(comparison: Comparison) -> Iterator[str]:
    yield f"A: {comparison.model_a}"
    yield f"B: {comparison.model_b}"
    others = f", {comparison.n_only_a:,} only in A, {comparison.n_only_b:,} only in B"
    yield f"{comparison.n_shared:,} images shared{others if comparison.n_only_a or comparison.n_only_b else ''}"
    if any(metric.flips is not None for metric in comparison.metrics):
        yield "−n +m: images that lost it and that gained it, from A to B"
    if any(metric.subgroup is not None for metric in comparison.metrics):
        yield "(n): so many images, those that both answer right, or both wrong"


def _tables(comparison: Comparison) -> Iterator[tuple[Sequence[str], list[list[str]]]]:
    if comparison.metrics:
        yield _METRIC_HEADING, [_metric_row(metric) for metric in comparison.metrics]
    if comparison.stages:
        yield _STAGE_HEADING, [_stage_row(stage) for stage in comparison.stages]


def _metric_row(metric: MetricComparison) -> list[str]:
    sides = (value_text(metric.name, value) for value in (metric.a, metric.b))
    of = "" if metric.subgroup is None else f" ({metric.n_images:,})"
    return [metric.name + of, *sides, _difference(metric), _direction(metric)]


def _difference(metric: MetricComparison) -> str:
    if metric.difference is None:
        return "–"
    values = (metric.difference, metric.ci_low, metric.ci_high)
    middle, low, high = ("?" if value is None else change_text(metric.name, value) for value in values)
    return f"{middle} {about(metric.method)}[{low}, {high}]"


def _direction(metric: MetricComparison) -> str:
    """Whether B is better or worse beyond noise; with the images that were lost and gained."""
    if metric.ci_low is None:
        return ""
    flips = metric.flips
    changed = "" if flips is None else f"−{flips.lost} +{flips.gained}"
    return f"{surely(metric) or ''} {changed}".strip()


def _stage_row(stage: StageComparison) -> list[str]:
    a, b = (None if side is None else side.value for side in (stage.a, stage.b))
    difference = "–" if a is None or b is None else change_text(f"stages.{stage.name}", b - a)
    return [f"{stage.name} ({stage.protocol})", number(a), number(b), difference]
