"""The HTML page's part about stages: the chart from input to output and the error maps over phase."""

from __future__ import annotations

from collections.abc import Sequence

from shiftaudit.records.report import AuditReport, Stage
from shiftaudit.render import findings, numbers
from shiftaudit.render.grids import phase_grid
from shiftaudit.render.html import svg
from shiftaudit.render.html.markup import Child, Html, join, literal, tag

_MAP_CELLS = 65
_MAPS = 8
_PHASES = (
    "The same errors by where a shift lands between the samples that a stage keeps. Shifts by a whole number of strides, "
    "at the corners and in the middle, keep the same samples, so only padding can make a difference there; all others alias "
    "as much as the map is bright. Each map has its own scale."
)


def stages(reports: Sequence[tuple[str, AuditReport]]) -> Html | None:
    """Where in the network the damage is done; None where stages were not asked for."""
    measured = [(label, one) for label, one in reports if one.stages or one.skipped_stages]
    if not measured:
        return None
    protocol = findings.stage_protocol(measured[0][1])
    parts: list[Child] = [
        tag("h2", "Where in the network it happens"),
        tag("p", _words(protocol), class_="dim"),
        _keys() if any(one.stages for _, one in measured) else None,
    ]
    # One scale for all reports, so that their bars can be compared.
    top = max(
        (v for _, one in measured for s in one.stages for v in _errors(s, protocol) if v is not None), default=0.0
    )
    for label, report in measured:
        title = tag("h3", f"{label}: ", literal(report.model.source), class_="apart") if label else None
        parts += [title, _chart(report, protocol, top) if report.stages else None, _skipped(report)]
    maps = [_phase_maps(label, one, _MAPS // len(measured)) for label, one in measured]
    if any(maps):
        parts += [tag("p", _PHASES, class_="dim apart"), tag("div", maps, class_="cards")]
    return tag("section", parts)


def _skipped(report: AuditReport) -> Html | None:
    if not report.skipped_stages:
        return None
    items = [join(literal(s.name), f" ({s.op}): {s.reason}") for s in report.skipped_stages]
    return tag("ul", [tag("li", "not measured: ", item) for item in items], class_="plain small dim")


def _words(protocol: str | None) -> str:
    if protocol is None:
        return "The features were not measured."
    return (
        "Every stage makes the feature map smaller, and only there can features stop moving along with the "
        f"picture. The bars show the equivariance error ({protocol}) from the input of the network at the top to "
        "its output at the bottom: 0 means that features just move along. Between two stages the error changes, too: "
        "nonlinearities sharpen it, and padding adds to it."
    )


def _keys() -> Html:
    names = (("carried", "comes in"), ("gain", "is added"), ("loss", "is taken away"))
    spans = [tag("span", tag("i", class_=f"key {kind}"), text) for kind, text in names]
    return tag("p", spans, class_="keys small")


def _chart(report: AuditReport, protocol: str | None, top: float) -> Html:
    worst = findings.worst_stage(report, protocol)
    rows = [_row(stage, protocol, top, index == worst) for index, stage in enumerate(report.stages)]
    heading = [
        tag("th", "stage", scope="col"),
        tag("th", "op", scope="col", class_="wide"),
        tag("th", "stride", scope="col", class_="n"),
        tag("th", "size", scope="col", class_="n wide"),
        tag("th", f"error, 0 to {numbers.number(top)}", scope="col"),
        tag("th", "in", scope="col", class_="n wide"),
        tag("th", "out", scope="col", class_="n"),
        tag("th", "adds", scope="col", class_="n"),
    ]
    table = tag("table", tag("thead", tag("tr", heading)), tag("tbody", rows))
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label="stages from input to output")


def _errors(stage: Stage, protocol: str | None) -> tuple[float | None, float | None]:
    errors = stage.errors.get(protocol) if protocol else None
    return (errors.input.value, errors.output.value) if errors else (None, None)


def _row(stage: Stage, protocol: str | None, top: float, worst: bool) -> Html:
    before, after = _errors(stage, protocol)
    gain = findings.added(stage, protocol) if protocol else None
    label = f"{stage.name}: error in {numbers.number(before)}, out {numbers.number(after)}"
    sizes = [numbers.pair_text((float(y), float(x))) for y, x in (stage.input_size, stage.output_size)]
    name: list[Child] = [literal(stage.name)]
    if worst:
        name += [" ", tag("span", "adds most", class_="mark small")]
    gain_text = ("+" if gain is not None and gain > 0 else "") + numbers.number(gain, 4).replace("-", "−", 1)
    cells = [
        tag("th", name, scope="row"),
        tag("td", stage.op, class_="wide"),
        tag("td", numbers.pair_text(stage.stride), class_="n"),
        tag("td", "→".join(sizes), class_="n wide"),
        tag("td", svg.gain_bar(before, after, top, label, worst=worst)),
        tag("td", numbers.number(before, 4), class_="n wide"),
        tag("td", numbers.number(after, 4), class_="n"),
        tag("td", gain_text, class_="n"),
    ]
    return tag("tr", cells, class_="worst" if worst else None)


def _phase_maps(label: str, report: AuditReport, most: int) -> list[Html]:
    """Error over phase of the stages that err most, in the order of the network."""
    found = []
    for index, stage in enumerate(report.stages):
        for protocol, errors in stage.errors.items():
            grid = phase_grid(errors.by_phase, stage.stride, _MAP_CELLS)
            if grid is not None and grid.top > 0:
                found.append((index, protocol, stage, grid))
    chosen = sorted(sorted(found, key=lambda entry: -entry[3].top)[:most], key=lambda entry: entry[0])
    cards = []
    for _, protocol, stage, grid in chosen:
        stride = numbers.pair_text(stage.stride)
        title = f"{stage.name}: error by shift within the stride of {stride} px ({protocol})"
        before = f"{label}: " if label else None
        squares = f", in squares of {grid.cell} px" if grid.pooled else ""
        heading = tag("h3", before, literal(stage.name), f", stride {stride}{squares}")
        cards.append(tag("div", heading, svg.heat_map(grid, title), class_="card"))
    return cards
