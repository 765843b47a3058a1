"""The HTML page's part about the least stable images: thumbnails, and probability against shift."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Mapping

from shiftaudit.records.report import AuditReport, ImageResult, Views
from shiftaudit.render import findings, numbers, sentences
from shiftaudit.render.grids import probability_grid
from shiftaudit.render.html import svg
from shiftaudit.render.html.markup import Child, Html, literal, tag

SHOWN = 12
_FLIPS_NAMED = 3
_MAP_CELLS = 33


def least_stable(report: AuditReport, other: AuditReport | None, thumbnails: Mapping[str, bytes]) -> Html | None:
    """The images whose answers change most often, and what the other report says of them; None without images."""
    if not report.per_image:
        return None
    worst = findings.least_stable(report, SHOWN)
    if not worst:
        return tag("section", tag("h2", "The least stable images"), tag("p", "No tried shift changes any answer."))
    moved = sum(1 for image in report.per_image if findings.flips(image)[0])
    before = " before" if other is not None else ""
    these = ", and these most often" if moved > len(worst) else ""
    words = (
        f"{moved:,} of {len(report.per_image):,} images change their answer under some tried shift{before}{these}. "
        "The drawing shows the probability of the answer given to the unmoved picture (dashed) under each "
        "shift: a ring where the answer stays, a filled diamond where it changes."
    )
    later = {image.id: image for image in other.per_image} if other is not None else {}
    cards = [_card(report, image, later.get(image.id), thumbnails.get(image.id)) for image in worst]
    return tag(
        "section",
        tag("h2", "The least stable images"),
        tag("p", words, class_="dim"),
        tag("div", cards, class_="cards"),
    )


def _card(report: AuditReport, image: ImageResult, later: ImageResult | None, jpeg: bytes | None) -> Html:
    changed, total = findings.flips(image)
    answer = sentences.class_name(report, image.prediction)
    lines = [tag("p", tag("strong", answer), f" {numbers.percent(image.probability)}")]
    if image.label is not None:
        verdict = (
            "right" if image.label == image.prediction else f"wrong: it is {sentences.class_name(report, image.label)}"
        )
        lines.append(tag("p", verdict, class_="small dim"))
    lines.append(tag("p", f"changes under {changed} of {total} shifts", class_="small"))
    lines.append(tag("p", _instead(report, image), class_="small"))
    if later is not None:
        changed, total = findings.flips(later)
        lines.append(tag("p", f"after: under {changed} of {total}", class_="small"))
    head: list[Child] = []
    if jpeg is not None:
        data = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
        head.append(tag("img", src=data, alt=f"the picture {image.path}", width="96", height="96"))
    head.append(tag("div", lines))
    charts = [_chart(protocol, views, image) for protocol, views in image.views.items() if views.shifts]
    return tag("article", tag("h3", literal(image.path)), tag("div", head, class_="shot"), charts, class_="card")


def _instead(report: AuditReport, image: ImageResult) -> str:
    answers = [answer for views in image.views.values() for answer in views.predictions if answer != image.prediction]
    named = [
        f"{sentences.class_name(report, answer)} ({n}×)" for answer, n in Counter(answers).most_common(_FLIPS_NAMED)
    ]
    return "to " + ", ".join(named) + (" …" if len(set(answers)) > _FLIPS_NAMED else "")


def _chart(protocol: str, views: Views, image: ImageResult) -> Html:
    """Probability against shift: a map where the shifts form a grid, dots over distance where they are random."""
    flipped = [answer != image.prediction for answer in views.predictions]
    label = f"{protocol}: probability against shift, {sum(flipped)} of {len(flipped)} views change the answer"
    caption = tag("p", f"{protocol}: ", _flips_text(views, flipped), class_="small dim")
    lost = [max(0.0, image.probability - value) for value in views.probabilities]
    grid = probability_grid(views.shifts, lost, _MAP_CELLS)
    if grid is not None:
        title = f"{protocol}: probability lost, by shift; {sum(flipped)} of {len(flipped)} views change the answer"
        return tag("div", caption, svg.heat_map(grid, title, top=max(grid.top, 0.05)))
    distances = [math.hypot(dy, dx) for dy, dx in views.shifts]
    dots = [svg.Dot(*one) for one in zip(distances, views.probabilities, flipped, strict=True)]
    return tag("div", caption, svg.dots(dots, image.probability, max(distances), label))


def _flips_text(views: Views, flipped: list[bool]) -> Child:
    shifts = [
        tag("span", f"({numbers.signed(dy)}, {numbers.signed(dx)})", class_="whole")
        for (dy, dx), flip in zip(views.shifts, flipped, strict=True)
        if flip
    ]
    if not shifts:
        return "no shift changes the answer"
    more = f" and {len(shifts) - _FLIPS_NAMED} more" if len(shifts) > _FLIPS_NAMED else ""
    named = [[", " if index else None, shift] for index, shift in enumerate(shifts[:_FLIPS_NAMED])]
    return ["changes at ", named, more]
