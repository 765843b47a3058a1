"""The HTML page's first parts: a card for each protocol, and the maps of answers that change over the shift."""

from __future__ import annotations

from collections.abc import Sequence

from shiftaudit.records.report import AuditReport, ProtocolResult
from shiftaudit.render import numbers, sentences
from shiftaudit.render.grids import Grid, flip_grid
from shiftaudit.render.html import svg
from shiftaudit.render.html.markup import Child, Html, tag

_MAP_CELLS = 33


def verdict_cards(reports: Sequence[tuple[str, AuditReport]]) -> Html:
    """One card a protocol, and with two reports one for each, beside each other."""
    protocols = dict.fromkeys(name for _, report in reports for name in report.protocols)
    cards = [
        _card(label, report, name, report.protocols[name])
        for name in protocols
        for label, report in reports
        if name in report.protocols
    ]
    return tag("div", cards, class_="cards two")


def _card(label: str, report: AuditReport, protocol: str, result: ProtocolResult) -> Html:
    metric = result.metrics.get("consistency")
    sentence = sentences.consistency_sentence(result)
    title = sentences.protocol_title(report, protocol)
    parts: list[Child] = [tag("h3", f"{label}: {title[:1].lower()}{title[1:]}" if label else title)]
    if metric is not None and metric.value is not None:
        interval = numbers.interval_text("consistency", metric)
        parts.append(tag("p", numbers.percent(metric.value), " ", tag("small", interval), class_="big"))
        parts.append(svg.gauge(metric.value, metric.ci_low, metric.ci_high, sentence))
    parts.append(tag("p", sentence))
    more = [sentences.worst_shift_text(result), sentences.padding_text(result)]
    parts += [tag("p", text, class_="small dim") for text in more if text]
    return tag("div", parts, class_="card")


def shift_maps(reports: Sequence[tuple[str, AuditReport]]) -> Html | None:
    """Which shifts change the answer; two reports share their scale, so that their colours can be compared."""
    protocols = dict.fromkeys(name for _, report in reports for name in report.protocols)
    cards, gaps = [], False
    for protocol in protocols:
        grids = [
            (label, flip_grid(report.protocols[protocol], _MAP_CELLS))
            for label, report in reports
            if protocol in report.protocols
        ]
        top = max((grid.top for _, grid in grids if grid is not None), default=0.0)
        cards += [_map(label, protocol, grid, top) for label, grid in grids if grid is not None]
        gaps = gaps or any(_has_gaps(grid) for _, grid in grids if grid is not None)
    if not cards:
        return None
    words = (
        "Each cell is a move of the picture: dy down, dx to the right, in pixels of the network's input. The ring"
        " marks the picture left where it was. Dark: the answer stays. Bright: it changes often."
    ) + (" Pale: no shift fell there." if gaps else "")
    return tag(
        "section",
        tag("h2", "Which shifts change the answer"),
        tag("p", words, class_="dim"),
        tag("div", cards, class_="cards two"),
    )


def _has_gaps(grid: Grid) -> bool:
    """Whether a cell other than that of the unmoved picture is empty."""
    cells = (
        (y, x, value) for y, row in zip(grid.ys, grid.rows, strict=True) for x, value in zip(grid.xs, row, strict=True)
    )
    return grid.top > 0 and any(value is None and (y, x) != (0, 0) for y, x, value in cells)


def _map(label: str, protocol: str, grid: Grid, top: float) -> Html:
    pooled = f", in squares of {grid.cell} px" if grid.pooled else ""
    before = f"{label}: share" if label else "Share"
    title = f"{before} of answers that change, by shift ({protocol}{pooled})"
    if top <= 0:
        return tag("div", tag("h3", title), tag("p", "No tried shift changes any answer."), class_="card")
    return tag("div", tag("h3", title), svg.heat_map(grid, title, percent=True, top=top), class_="card")
