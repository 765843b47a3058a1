"""The report as one offline web page: no scripts, no outside resources, light and dark, phone and print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files

from shiftaudit.metrics.terms import NONE, TERMS
from shiftaudit.metrics.vocabulary import METRICS, label_of
from shiftaudit.records.report import AuditReport, Metric
from shiftaudit.render import findings, numbers, sentences
from shiftaudit.render.html.compare import before_after
from shiftaudit.render.html.images import least_stable
from shiftaudit.render.html.markup import Child, Html, literal, prose, tag
from shiftaudit.render.html.stages import stages
from shiftaudit.render.html.verdict import shift_maps, verdict_cards

# Nothing but what the page itself holds may be shown, whatever a file name contains.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
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
    reports = [("", report)] if other is None else [("Before", report), ("After", other)]
    body = [
        _header(reports),
        [_warning(label, one) for label, one in reports],
        section("Verdict", verdict_cards(reports)),
        before_after(report, other) if other is not None else None,
        shift_maps(reports),
        stages(reports),
        least_stable(report, other, thumbnails or {}),
        _metrics(report) if other is None else None,
        [_skipped(label, one) for label, one in reports],
        [_measured(label, one) for label, one in reports],
        _definitions([one for _, one in reports]),
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
        tag("title", f"Shift audit: {', '.join(one.model.source for _, one in reports)}"),
        tag("style", Html(files("shiftaudit.render.html").joinpath("report.css").read_text(encoding="utf-8"))),
    ]
    page = tag("html", tag("head", head), "\n", tag("body", tag("main", [(part, "\n") for part in body])), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def section(title: str, *children: Child) -> Html:
    """A heading and what belongs to it."""
    return tag("section", tag("h2", title), children)


def _header(reports: Sequence[tuple[str, AuditReport]]) -> Html:
    first = reports[0][1]
    if len(reports) == 1:
        title = tag("h1", "Does ", literal(first.model.source), " give the same answer when the picture moves?")
    else:
        names = [literal(one.model.source) for _, one in reports]
        title = tag("h1", "Same answer when the picture moves? ", names[0], " before, ", names[1], " after")
    lead = [
        tag("p", tag("b", f"{label}: ") if label else None, prose(text), class_="lead")
        for label, one in reports
        if (text := sentences.lead_sentence(one)) is not None
    ]
    return tag("header", title, lead, tag("p", _subtitle(first), class_="dim"))


def _subtitle(report: AuditReport) -> str:
    model, data = report.model, report.data
    pictures = "1 image" if data.n_images == 1 else f"{data.n_images:,} images"
    parts = [
        model.kind,
        f"weights {model.weights}" if model.weights else "",
        pictures,
        f"{data.n_labelled:,} labelled" if data.n_labelled else "no labels",
        sentences.views_text(report),
    ]
    return ", ".join(part for part in parts if part)


def _warning(label: str, report: AuditReport) -> Html | None:
    if not findings.is_degenerate(report):
        return None
    title = f"Warning ({label.lower()}): " if label else "Warning: "
    return tag("div", tag("p", tag("strong", title), sentences.degenerate_text(report)), class_="warning", role="alert")


def _metrics(report: AuditReport) -> Html | None:
    if not report.protocols:
        return None
    rows = []
    for name in findings.metric_names(report.protocols.values()):
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
    interval = numbers.interval_text(name, metric)
    return tag(
        "td",
        numbers.value_text(name, metric.value),
        tag("span", interval, class_="dim") if interval else None,
        class_="n",
    )


def data_table(heading: Child, rows: Child) -> Html:
    """A table that scrolls by itself where it does not fit."""
    table = tag("table", tag("thead", tag("tr", heading)), tag("tbody", rows))
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label="table")


def _skipped(label: str, report: AuditReport) -> Html | None:
    skipped = report.data.skipped
    if not skipped:
        return None
    items = [tag("li", literal(entry.path), f": {entry.reason}") for entry in skipped[:_SKIPPED_SHOWN]]
    if len(skipped) > _SKIPPED_SHOWN:
        items.append(tag("li", f"and {len(skipped) - _SKIPPED_SHOWN} more; all are in the JSON report"))
    return section(f"Skipped files{_of(label)} ({len(skipped)})", tag("ul", items, class_="plain"))


def _of(label: str) -> str:
    return f", {label.lower()}" if label else ""


def _measured(label: str, report: AuditReport) -> Html:
    model, environment, data = report.model, report.environment, report.data
    limit = f", cut to {data.limit} by --limit" if data.limit is not None else ""
    threads = "1 thread" if environment.threads == 1 else f"{environment.threads} threads"
    rows: dict[str, Child] = {
        "Model": [literal(model.source), f" ({model.kind}" + (f", {model.arch}" if model.arch else "") + ")"],
        "SHA-256": model.sha256 or "none",
        "Weights": model.weights or "as in the file",
        "Input": sentences.preprocessing_text(model.preprocessing),
        "Images": f"{data.n_images}{limit}; manifest {data.manifest_sha256[:16]}",
        "Views": sentences.shifts_text(report),
        "Computed with": f"Python {environment.python}, torch {environment.torch}, torchvision "
        f"{environment.torchvision}, Pillow {environment.pillow}; {environment.device}, {environment.precision}, "
        f"{threads}",
    }
    return section(
        f"What was measured{_of(label)}",
        tag("dl", [(tag("dt", k), tag("dd", v)) for k, v in rows.items()], class_="facts"),
    )


def _definitions(reports: Sequence[AuditReport]) -> Html:
    shown = set(findings.metric_names(result for one in reports for result in one.protocols.values()))
    terms = [term for term in METRICS if term.name in shown] + list(TERMS)
    items = [
        tag(
            "div",
            tag("dt", term.label),
            tag("dd", prose(term.text)),
            tag("dd", "Definition: ", tag("span", term.formula, class_="formula"), class_="dim small"),
            tag("dd", f"Source: {term.source}", class_="dim small") if term.source != NONE else None,
        )
        for term in terms
    ]
    return section("Method and definitions", tag("dl", items, class_="terms"))
