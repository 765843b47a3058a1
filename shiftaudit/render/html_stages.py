"""The HTML page's part about stages: the chart from input to output and the error maps over phase."""

from __future__ import annotations

from shiftaudit.records.report import AuditReport, Stage
from shiftaudit.render import facts, svg
from shiftaudit.render.grids import phase_grid
from shiftaudit.render.markup import Child, Html, join, tag

_MAP_CELLS = 65
_MAPS = 8


def stages(report: AuditReport) -> Html | None:
    """Where in the network the damage is done; None where stages were not asked for."""
    if not report.stages and not report.skipped_stages:
        return None
    protocol = facts.stage_protocol(report)
    parts: list[Child] = [tag("h2", "Where in the network it happens"), tag("p", _words(protocol), class_="dim")]
    if report.stages:
        parts += [_keys(), _chart(report, protocol)]
    if report.skipped_stages:
        items = [join(tag("code", s.name), f" ({s.op}): {s.reason}") for s in report.skipped_stages]
        parts.append(tag("ul", [tag("li", "not measured: ", item) for item in items], class_="plain small dim"))
    parts.append(_phase_maps(report))
    return tag("section", parts)


def _words(protocol: str | None) -> str:
    if protocol is None:
        return "The features were not measured."
    return (
        "Every stage makes the feature map smaller, and only there can features stop moving along with the "
        f"picture. The bars show the equivariance error ({protocol}) from the input of the network at the top to "
        "its output at the bottom: 0 means that features just move along."
    )


def _keys() -> Html:
    names = (("carried", "comes in"), ("gain", "is added"), ("loss", "is taken away"))
    spans = [tag("span", tag("i", class_=f"key {kind}"), text) for kind, text in names]
    return tag("p", spans, class_="keys small")


def _chart(report: AuditReport, protocol: str | None) -> Html:
    worst = facts.worst_stage(report)
    values = [v for s in report.stages for v in _errors(s, protocol) if v is not None]
    top = max(values, default=0.0)
    rows = [_row(stage, protocol, top, index == worst) for index, stage in enumerate(report.stages)]
    heading = [
        tag("th", "stage", scope="col"),
        tag("th", "op", scope="col", class_="wide"),
        tag("th", "stride", scope="col", class_="n"),
        tag("th", "size", scope="col", class_="n wide"),
        tag("th", f"error, 0 to {facts.number(top)}", scope="col"),
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
    gain = facts.added(stage, protocol) if protocol else None
    label = f"{stage.name}: error in {facts.number(before)}, out {facts.number(after)}"
    sizes = [facts.pair_text((float(y), float(x))) for y, x in (stage.input_size, stage.output_size)]
    name: list[Child] = [tag("code", stage.name)]
    if worst:
        name += [" ", tag("span", "adds most", class_="mark small")]
    gain_text = ("+" if gain is not None and gain > 0 else "") + facts.number(gain, 4).replace("-", "−", 1)
    cells = [
        tag("th", name, scope="row"),
        tag("td", stage.op, class_="wide"),
        tag("td", facts.pair_text(stage.stride), class_="n"),
        tag("td", "→".join(sizes), class_="n wide"),
        tag("td", svg.gain_bar(before, after, top, label, worst=worst)),
        tag("td", facts.number(before, 4), class_="n wide"),
        tag("td", facts.number(after, 4), class_="n"),
        tag("td", gain_text, class_="n"),
    ]
    return tag("tr", cells, class_="worst" if worst else None)


def _phase_maps(report: AuditReport) -> Html | None:
    """Error over phase of the stages that err most, in the order of the network."""
    found = []
    for index, stage in enumerate(report.stages):
        for protocol, errors in stage.errors.items():
            grid = phase_grid(errors.by_phase, stage.stride, _MAP_CELLS)
            if grid is not None and grid.top > 0:
                found.append((index, protocol, stage, grid))
    if not found:
        return None
    chosen = sorted(sorted(found, key=lambda entry: -entry[3].top)[:_MAPS], key=lambda entry: entry[0])
    cards = []
    for _, protocol, stage, grid in chosen:
        title = f"{stage.name}: error by shift within the stride of {facts.pair_text(stage.stride)} px ({protocol})"
        heading = tag("h3", tag("code", stage.name), f", stride {facts.pair_text(stage.stride)}")
        cards.append(tag("div", heading, svg.heat_map(grid, title), class_="card"))
    words = (
        "The same errors by where a shift lands between the samples that a stage keeps. Shifts by a whole number of strides, "
        "the corners of the lattice, keep the same samples, so only padding can make a difference there; all others alias "
        "as much as the map is bright."
    )
    return join(tag("p", words, class_="dim"), tag("div", cards, class_="cards"))
