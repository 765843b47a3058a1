"""The report as one offline web page: no scripts, no outside resources, light and dark, phone and print."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from shiftaudit.records.report import AuditReport, Metric, ProtocolResult
from shiftaudit.render import facts, svg
from shiftaudit.render.grids import flip_grid
from shiftaudit.render.html_compare import before_after
from shiftaudit.render.html_images import least_stable
from shiftaudit.render.html_stages import stages
from shiftaudit.render.markup import Child, Html, join, tag
from shiftaudit.render.words import METRICS, TERMS, label_of

# Nothing but what the page itself holds may be shown, whatever a file name contains.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_MAP_CELLS = 33
_SKIPPED_SHOWN = 200


def render(
    report: AuditReport,
    other: AuditReport | None = None,
    *,
    thumbnails: Mapping[str, bytes] | None = None,
) -> str:
    """The page as text.

    Args:
        report: what the page is about.
        other: a second report, shown as what comes after the first: the patched model, say.
        thumbnails: JPEG bytes by the image's id, for the images that change most; see `shiftaudit.render.thumbnails`.
    """
    pictures = thumbnails or {}
    source = report.model.source
    body = [
        _header(report),
        _warning(report),
        section("Verdict", tag("div", [_card(report, p, r) for p, r in report.protocols.items()], class_="cards")),
        before_after(report, other) if other is not None else None,
        _shift_maps(report),
        stages(report),
        least_stable(report, pictures),
        _metrics(report),
        _skipped(report),
        _measured(report),
        _definitions(report),
        tag(
            "footer",
            f"Made by shiftaudit {report.tool_version}. This page is one file and loads nothing from elsewhere.",
        ),
    ]
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"Shift audit: {source}"),
        tag("style", Html(files("shiftaudit.render").joinpath("report.css").read_text(encoding="utf-8"))),
    ]
    page = tag("html", tag("head", head), "\n", tag("body", tag("main", [(part, "\n") for part in body])), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def section(title: str, *children: Child) -> Html:
    """A heading and what belongs to it."""
    return tag("section", tag("h2", title), children)


def _header(report: AuditReport) -> Html:
    model, data = report.model, report.data
    parts = [model.kind, f"weights {model.weights}" if model.weights else "", f"{data.n_images} images"]
    parts.append(f"{data.n_labelled} labelled" if data.n_labelled else "no labels")
    title = tag("h1", "Does ", tag("code", model.source), " give the same answer when the picture moves?")
    return tag("header", title, tag("p", ", ".join(part for part in parts if part), class_="dim"))


def _warning(report: AuditReport) -> Html | None:
    if not facts.is_degenerate(report):
        return None
    return tag(
        "div", tag("p", tag("strong", "Warning: "), facts.degenerate_text(report)), class_="warning", role="alert"
    )


def _card(report: AuditReport, protocol: str, result: ProtocolResult) -> Html:
    metric = result.metrics.get("consistency")
    sentence = facts.consistency_sentence(result)
    parts: list[Child] = [tag("h3", facts.protocol_title(report, protocol))]
    if metric is not None and metric.value is not None:
        interval = facts.interval_text("consistency", metric)
        parts.append(tag("p", facts.percent(metric.value), " ", tag("small", interval), class_="big"))
        parts.append(svg.gauge(metric.value, metric.ci_low, metric.ci_high, sentence))
    parts.append(tag("p", sentence))
    more = [facts.worst_shift_text(result), facts.padding_text(result)]
    parts += [tag("p", text, class_="small dim") for text in more if text]
    return tag("div", parts, class_="card")


def _shift_maps(report: AuditReport) -> Html | None:
    cards = []
    for protocol, result in report.protocols.items():
        grid = flip_grid(result, _MAP_CELLS)
        if grid is None:
            continue
        pooled = (
            f", pooled in {grid.cell}×{grid.cell} px"
            if grid.cell > 1 and not report.protocol.shifts.startswith("grid")
            else ""
        )
        title = f"Share of answers that change, by shift ({protocol}{pooled})"
        cards.append(tag("div", tag("h3", title), svg.heat_map(grid, title, percent=True), class_="card"))
    if not cards:
        return None
    words = (
        "Each cell is a move of the picture: dy down, dx to the right, in pixels of the network's input. The ring"
        " marks the picture left where it was. Dark: the answer stays. Bright: it changes often."
    )
    return section("Which shifts change the answer", tag("p", words, class_="dim"), tag("div", cards, class_="cards"))


def _metrics(report: AuditReport) -> Html | None:
    if not report.protocols:
        return None
    rows = []
    for name in facts.metric_names(report.protocols.values()):
        cells = [metric_cell(name, result.metrics.get(name)) for result in report.protocols.values()]
        rows.append(tag("tr", tag("th", label_of(name), scope="row"), cells))
    ties = [
        tag("td", f"{r.n_near_ties:,}", tag("span", f"of {r.n_predictions:,}", class_="dim"), class_="n")
        for r in report.protocols.values()
    ]
    rows.append(tag("tr", tag("th", "near ties", scope="row"), ties))
    heading = [
        tag("th", "measure", scope="col"),
        *(tag("th", name, scope="col", class_="n") for name in report.protocols),
    ]
    return section("All measures, with 95 % intervals", data_table(heading, rows))


def metric_cell(name: str, metric: Metric | None) -> Html:
    """A table cell with a metric's value and interval."""
    if metric is None:
        return tag("td", "–", class_="n")
    interval = facts.interval_text(name, metric)
    return tag(
        "td", facts.value_text(name, metric), tag("span", interval, class_="dim") if interval else None, class_="n"
    )


def data_table(heading: Child, rows: Child) -> Html:
    """A table that scrolls by itself where it does not fit."""
    table = tag("table", tag("thead", tag("tr", heading)), tag("tbody", rows))
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label="table")


def _skipped(report: AuditReport) -> Html | None:
    skipped = report.data.skipped
    if not skipped:
        return None
    items = [tag("li", tag("code", entry.path), f": {entry.reason}") for entry in skipped[:_SKIPPED_SHOWN]]
    if len(skipped) > _SKIPPED_SHOWN:
        items.append(tag("li", f"and {len(skipped) - _SKIPPED_SHOWN} more; all are in the JSON report"))
    return section(f"Skipped files ({len(skipped)})", tag("ul", items, class_="plain"))


def _measured(report: AuditReport) -> Html:
    model, environment, data = report.model, report.environment, report.data
    limit = f", cut to {data.limit} by --limit" if data.limit is not None else ""
    rows = {
        "Model": f"{model.source} ({model.kind}" + (f", {model.arch}" if model.arch else "") + ")",
        "SHA-256": model.sha256 or "none",
        "Weights": model.weights or "as in the file",
        "Input": facts.preprocessing_text(model.preprocessing),
        "Images": f"{data.n_images}{limit}; manifest {data.manifest_sha256[:16]}",
        "Views": facts.shifts_text(report),
        "Computed with": f"Python {environment.python}, torch {environment.torch}, torchvision "
        f"{environment.torchvision}, Pillow {environment.pillow}; {environment.device}, {environment.precision}, "
        f"{environment.threads} threads",
    }
    return section(
        "What was measured", tag("dl", [(tag("dt", k), tag("dd", v)) for k, v in rows.items()], class_="facts")
    )


def _definitions(report: AuditReport) -> Html:
    shown = set(facts.metric_names(report.protocols.values()))
    terms = [term for term in METRICS if term.name in shown] + list(TERMS)
    items = [
        (
            tag("dt", term.label),
            tag(
                "dd",
                term.text,
                " ",
                tag("span", f"Definition: {term.formula}. Source: {term.source}.", class_="dim small"),
            ),
        )
        for term in terms
    ]
    return section("Method and definitions", join(tag("dl", items)))
