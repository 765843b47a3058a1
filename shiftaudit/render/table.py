"""The report on a terminal: the verdict first, then the measures, then the stages from input to output."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shiftaudit.metrics.vocabulary import label_of
from shiftaudit.records.distance import DistanceBin
from shiftaudit.records.report import AuditReport, ProtocolResult
from shiftaudit.records.words import Protocol
from shiftaudit.render import distance, findings, numbers, sentences, verdict
from shiftaudit.render.characters import clean
from shiftaudit.render.terminal import Terminal, to_text

WIDE, NARROW = 104, 72
_BAR_CELLS = 10
_INTERVALS_FROM = 80
"""Columns that a table of distances needs to have room for intervals."""
_SKIPPED_SHOWN = 3


def render(report: AuditReport, terminal: Terminal | None = None) -> str:
    """The report at a glance, as text of at most `terminal.width` columns.

    Names and paths are shown literally: neither rich markup nor terminal escape sequences in them have any effect.
    """
    limits = terminal or Terminal()
    return to_text(lambda console: _draw(console, report), limits)


def _draw(console: Console, report: AuditReport) -> None:
    headline(console, report)
    if report.degenerate:
        warning = Text.assemble(("WARNING: ", "bold red"), (sentences.degenerate_text(report), "red"))
        console.print(warning)
        console.print()
    for protocol, result in report.protocols.items():
        _verdict(console, report, protocol, result)
    if report.protocols:
        console.print(_metrics(report, narrow=console.width < NARROW))
    _cause(console, report)
    _against(console, report)
    _stages(console, report)
    _notes(console, report)
    console.print(Text(clean(verdict.next_step(report)), style="cyan"))


def headline(console: Console, report: AuditReport) -> None:
    """The model and how many images it was scored on."""
    model = report.model
    details: list[str] = [model.kind]
    if model.arch and model.arch != model.source:
        details.append(model.arch)
    if model.weights:
        details.append(f"weights {model.weights}")
    images = numbers.counted(report.data.n_images, "image")
    if report.data.n_labelled:
        images += f", {report.data.n_labelled} labelled"
    line = Text.assemble((clean(model.source), "bold"), clean(f" ({', '.join(details)}) on {images}"))
    console.print(line, overflow="fold")
    console.print()


def _verdict(console: Console, report: AuditReport, protocol: Protocol, result: ProtocolResult) -> None:
    console.print(Text(clean(sentences.protocol_title(report, protocol)), style="bold"))
    lines = [Text(sentences.consistency_sentence(result), style="bold")]
    lines += [Text(line) for line in (sentences.worst_shift_text(result),) if line is not None]
    for line in lines:
        console.print(Padding(line, (0, 0, 0, 2)))
    console.print()


def _new_table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True, show_edge=False)


def _metrics(report: AuditReport, *, narrow: bool) -> Table:
    """One row a metric, and a protocol's value with, where there is room, its 95 % interval."""
    table = _new_table()
    table.add_column("measure", overflow="fold")
    for protocol in report.protocols:
        table.add_column(clean(protocol), justify="right", no_wrap=True)
        if not narrow:
            table.add_column("95 %", no_wrap=True, style="dim")
    for name in findings.metric_names(report.protocols.values()):
        cells = [_metric_cells(name, result) for result in report.protocols.values()]
        _add_row(table, clean(label_of(name)), cells, narrow=narrow)
    near_ties = [(f"{result.n_near_ties:,}", f"of {result.n_predictions:,}") for result in report.protocols.values()]
    _add_row(table, "near ties", near_ties, narrow=narrow)
    return table


def _metric_cells(name: str, result: ProtocolResult) -> tuple[str, str]:
    metric = result.metrics.get(name)
    return (numbers.value_text(name, metric.value), numbers.interval_text(name, metric)) if metric else ("–", "")


def _add_row(table: Table, label: str, cells: Iterable[tuple[str, str]], *, narrow: bool) -> None:
    table.add_row(Text(label), *(Text(text) for pair in cells for text in pair[: 1 if narrow else 2]))


def _cause(console: Console, report: AuditReport) -> None:
    """What of the change is aliasing: sentences, and the change against the distance moved."""
    lines, bins = sentences.cause_texts(report), distance.bins_of(report)
    if not lines and not bins:
        return
    console.print()
    console.print(Text("Why answers change" if lines else "Change against the distance moved", style="bold"))
    for line in lines:
        console.print(Padding(Text(clean(line)), (0, 0, 0, 2)))
    if bins:
        console.print(Padding(_distances(bins, console.width), (0, 0, 0, 2)))
        console.print(Padding(Text(distance.UNIT, style="dim"), (0, 0, 0, 2)))


def _distances(bins: Sequence[DistanceBin], width: int) -> Table:
    """Change against distance, in a wide terminal as bars, too."""
    table = _new_table()
    top = max((one.variation.value or 0.0 for one in bins), default=0.0)
    columns = {"moved by": "distance", "views": "views", "change": "change", "95 %": "interval", "aliasing": "aliasing"}
    columns["border"] = "border"
    for heading in ("views", "95 %") if width < NARROW else ("views",) if width < _INTERVALS_FROM else ():
        del columns[heading]
    for heading in columns:
        table.add_column(heading, justify="left" if heading == "moved by" else "right", no_wrap=True)
    if width >= WIDE:
        table.add_column("", no_wrap=True)
    for one, row in zip(bins, distance.rows(bins), strict=True):
        cells = [str(getattr(row, field)) for field in columns.values()]
        cells += [_bar(one.variation.value, top)] if width >= WIDE else []
        table.add_row(*map(Text, (distance.range_text(one) if width < NARROW else cells[0], *cells[1:])))
    return table


def _against(console: Console, report: AuditReport) -> None:
    """How another form of the model answers."""
    if report.against is None:
        return
    console.print()
    console.print(Text(clean(f"Against {report.against.source} ({report.against.kind}):"), style="bold"))
    console.print(Padding(Text(clean(" ".join(sentences.against_texts(report.against)))), (0, 0, 0, 2)))


def _stages(console: Console, report: AuditReport) -> None:
    if not report.stages and not report.skipped_stages:
        reason = "none found" if report.protocol.stages else "not measured (--no-stages)"
        console.print(Text(f"\nStages: {reason}.\n"))
        return
    protocol = findings.stage_protocol(report)
    console.print()
    if report.stages:
        heading = "Stages, input to output"
        heading += (
            f": error, {protocol} (0 = moves along, 1 = another image), and damage to the answers" if protocol else ""
        )
        console.print(Text(clean(heading), style="bold"))
        console.print(_stage_table(report, protocol, console.width))
        worst = findings.worst_stage(report)
        if worst is not None:
            name = (clean(report.stages[worst].name), "bold")
            console.print(Text.assemble("◀ does most damage: ", name), overflow="fold")
        for line in sentences.stage_notes(report):
            console.print(Text(clean(line), style="dim"))
    for skipped in report.skipped_stages:
        console.print(Text(clean(f"Not measured: {skipped}"), style="dim"))
    console.print()


def _stage_table(report: AuditReport, protocol: Protocol | None, width: int) -> Table:
    wide, narrow = width >= WIDE, width < NARROW
    table = _new_table()
    table.add_column("stage", overflow="fold")
    if not narrow:
        table.add_column("op", overflow="fold")
    for heading in ("stride", *(() if narrow else ("size", "in")), "out", "damage", *(("95 %",) if wide else ())):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    worst = findings.worst_stage(report)
    top = max((findings.damage(stage) or 0.0 for stage in report.stages), default=0.0)
    rows = []
    for index, stage in enumerate(report.stages):
        end = (_bar(findings.damage(stage), top) if wide else "") + ("◀" if index == worst else "")
        error_in, error_out = (numbers.number(error, 3) for error in findings.stage_errors(stage, protocol))
        damage = numbers.number(findings.damage(stage))
        interval = [sentences.damage_interval(stage)] if wide else []
        strides = numbers.strides_text(stage.stride, stage.layer_stride)
        sizes = numbers.sizes_text(stage.input_size, stage.output_size)
        row = [clean(stage.op), strides, sizes, error_in, error_out, damage, *interval, end]
        if narrow:
            row = [numbers.pair_text(stage.stride), error_out, damage, end]
        rows.append(row)
    room = room_of_names([str(column.header) for column in table.columns], rows, width)
    for index, (stage, row) in enumerate(zip(report.stages, rows, strict=True)):
        name = fold_name(clean(stage.name), room)
        table.add_row(*(Text(cell) for cell in (name, *row)), style="bold red" if index == worst else "")
    return table


def room_of_names(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> int:
    """The columns left for names beside all other columns, whose cells `rows` are: each has two blanks beside it."""
    return width - sum(max(map(cell_len, column)) + 2 for column in zip(headings[1:], *rows, strict=True)) - 1


def fold_name(name: str, width: int) -> str:
    """The name in lines of at most `width` columns, broken behind dots, slashes and underscores where that is possible.

    >>> fold_name("layer2.0.downsample.0", 12).split()
    ['layer2.0.', 'downsample.0']
    """
    lines = [""]
    for part in re.split(r"(?<=[./_])(?=[^./_])", name):
        if lines[-1] and cell_len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _bar(value: float | None, top: float) -> str:
    """A bar as long as a value on a scale from 0 to `top`."""
    return "█" * round(value / top * _BAR_CELLS) + " " if value and top > 0 else ""


def _notes(console: Console, report: AuditReport) -> None:
    """Skipped files and what the numbers were made with."""
    skipped = report.data.skipped
    if skipped:
        console.print(Text(f"Skipped {numbers.counted(len(skipped), 'file')}:", style="yellow"))
        for entry in skipped[:_SKIPPED_SHOWN]:
            console.print(Padding(Text(clean(f"{entry.path}: {entry.reason}")), (0, 0, 0, 2)))
        if len(skipped) > _SKIPPED_SHOWN:
            console.print(
                Padding(Text(f"and {len(skipped) - _SKIPPED_SHOWN} more (all are in the JSON report)"), (0, 0, 0, 2))
            )
        console.print()
    for label, text in _used(report):
        console.print(Padding(Text(clean(f"{label}: {text}"), style="dim"), (0, 0, 0, 0)))
    console.print()


def _used(report: AuditReport) -> Iterable[tuple[str, str]]:
    yield "Input", sentences.preprocessing_text(report.model.preprocessing)
    yield "Views", sentences.shifts_text(report)
    apart = sentences.apart_text(report)
    if apart is not None:
        yield "Taken apart", apart
    limit = f", cut by --limit {report.data.limit}" if report.data.limit is not None else ""
    environment = report.environment
    yield (
        "Run",
        f"{numbers.counted(report.data.n_images, 'image')}{limit}; torch {environment.torch} on {environment.device}, "
        f"{environment.precision}, {numbers.counted(environment.threads, 'thread')}",
    )
