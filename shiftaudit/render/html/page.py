"""The report as one offline web page: no outside resources, complete without its script, light and dark, phone and print.

What is shown is picked here and beside it, as records of text and of places; templates/page.html.j2 says how it looks.
"""

from __future__ import annotations

from collections.abc import Mapping

from shiftaudit.metrics.terms import TERMS
from shiftaudit.metrics.vocabulary import METRICS
from shiftaudit.records.gate import Comparison
from shiftaudit.records.report import AuditReport, ImageResult
from shiftaudit.render.findings import least_stable, metric_names
from shiftaudit.render.html import svg
from shiftaudit.render.html.cause import cause_parts
from shiftaudit.render.html.compare import compare_part
from shiftaudit.render.html.images import OPEN, SHOWN, images_part
from shiftaudit.render.html.maps import shift_maps
from shiftaudit.render.html.stages import stages_part
from shiftaudit.render.html.templating import render_template


def render(
    report: AuditReport,
    other: AuditReport | None = None,
    comparison: Comparison | None = None,
    *,
    thumbnails: Mapping[str, bytes] | None = None,
) -> str:
    """The page as text.

    Args:
        report: what the page is about.
        other: a second report, shown as what comes after the first: the patched model, say.
        comparison: of the two, with paired intervals; needed where there is a second.
        thumbnails: JPEG bytes by the image's id, of `shown_images`; see `shiftaudit.images.thumbnails`.
    """
    compared = None
    if other is not None:
        assert comparison is not None, "two reports are shown with their comparison"
        compared = compare_part(report, other, comparison)
    sides = [("", report)] if other is None else [("Before", report), ("After", other)]
    results = [result for _, side in sides for result in side.protocols.values()]
    shown = metric_names(results)
    return render_template(
        "page.html.j2",
        {
            "sides": sides,
            "report": report,
            "protocols": list(dict.fromkeys(name for _, side in sides for name in side.protocols)),
            "compared": compared,
            "shift_maps": shift_maps(sides),
            "causes": cause_parts(sides),
            "stages": stages_part(sides),
            "cards_open": OPEN,
            "drawing": svg,
            "images": images_part(report, other, thumbnails or {}),
            "terms": [*(measure for measure in METRICS if measure.name in shown), *TERMS],
        },
    )


def shown_images(report: AuditReport) -> list[ImageResult]:
    """The images that get a card of their own, those whose answers change most often."""
    return least_stable(report, SHOWN)
