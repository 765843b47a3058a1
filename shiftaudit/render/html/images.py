"""The page's part about the least stable images: a card each, with a thumbnail and probability against shift."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shiftaudit.records.report import AuditReport, ImageResult, Views
from shiftaudit.records.words import Protocol
from shiftaudit.render import findings
from shiftaudit.render.grids import probability_grid
from shiftaudit.render.html import svg
from shiftaudit.render.numbers import percent, shift_text
from shiftaudit.render.sentences import class_name

SHOWN = 12
OPEN = 3
"""Cards in sight; the others unfold."""
_ANSWERS_NAMED = 3
_MAP_CELLS = 17


@dataclass(frozen=True)
class Chart:
    """One image under one protocol: a map where the shifts form a grid, dots over distance where they are random."""

    protocol: Protocol
    map: svg.HeatMap | None
    dots: svg.Dots | None


@dataclass(frozen=True)
class _Shown:
    """What is said of every image."""

    path: str
    answer: str
    label: str | None
    """The right class by its name; None without a label."""
    right: bool
    changed: tuple[int, int]
    """(views whose answer differs from the unshifted one, views)."""
    after: tuple[int, int] | None
    """As `changed`, in the second report."""


@dataclass(frozen=True)
class Card(_Shown):
    """One image."""

    probability: str
    instead: tuple[tuple[str, int], ...]
    """The answers it changes to and how often, the most frequent first."""
    more: bool
    """Whether there are other answers still."""
    thumbnail: str | None
    """JPEG as base64."""
    charts: tuple[Chart, ...]


@dataclass(frozen=True)
class Line(_Shown):
    """One image in the table of all."""

    instead: str
    """The other answers, the most frequent first."""


@dataclass(frozen=True)
class ImagesPart:
    """What the page shows of single images."""

    n_changed: int
    cards: tuple[Card, ...]
    """The least stable ones."""
    lines: tuple[Line, ...]
    """All, the least stable first."""
    labelled: bool
    compared: bool


def images_part(report: AuditReport, other: AuditReport | None, thumbnails: Mapping[str, bytes]) -> ImagesPart | None:
    """The images whose answers change most often, and what the other report says of them; None without images."""
    if not report.per_image:
        return None
    later = {image.id: image for image in other.per_image} if other is not None else {}
    changing = findings.least_stable(report, len(report.per_image))
    ids = {image.id for image in changing}
    ordered = [*changing, *(image for image in report.per_image if image.id not in ids)]
    return ImagesPart(
        n_changed=len(changing),
        cards=tuple(_card(report, image, later.get(image.id), thumbnails.get(image.id)) for image in changing[:SHOWN]),
        lines=tuple(_line(report, image, later.get(image.id)) for image in ordered),
        labelled=report.data.n_labelled > 0,
        compared=other is not None,
    )


def _shown(report: AuditReport, image: ImageResult, later: ImageResult | None) -> dict[str, Any]:
    return {
        "path": image.path,
        "answer": class_name(report, image.prediction),
        "label": None if image.label is None else class_name(report, image.label),
        "right": image.label == image.prediction,
        "changed": findings.flips(image),
        "after": None if later is None else findings.flips(later),
    }


def _line(report: AuditReport, image: ImageResult, later: ImageResult | None) -> Line:
    instead = ", ".join(f"{class_name(report, answer)} {count}×" for answer, count in _instead(image))
    return Line(**_shown(report, image, later), instead=instead)


def _instead(image: ImageResult) -> list[tuple[int, int]]:
    """The other answers and how often, the most frequent first."""
    answers = (answer for views in image.views.values() for answer in views.predictions)
    return Counter(answer for answer in answers if answer != image.prediction).most_common()


def _card(report: AuditReport, image: ImageResult, later: ImageResult | None, jpeg: bytes | None) -> Card:
    instead = _instead(image)
    return Card(
        **_shown(report, image, later),
        probability=percent(image.probability),
        instead=tuple((class_name(report, answer), count) for answer, count in instead[:_ANSWERS_NAMED]),
        more=len(instead) > _ANSWERS_NAMED,
        thumbnail=None if jpeg is None else base64.b64encode(jpeg).decode("ascii"),
        charts=tuple(_chart(protocol, views, image) for protocol, views in image.views.items() if views.shifts),
    )


def _chart(protocol: Protocol, views: Views, image: ImageResult) -> Chart:
    flipped = [answer != image.prediction for answer in views.predictions]
    counted = f"{sum(flipped)} of {len(flipped)} views change the answer"
    lost = [max(0.0, image.probability - value) for value in views.probabilities]
    grid = probability_grid(views.shifts, lost, _MAP_CELLS)
    drawn_map = drawn_dots = None
    if grid is not None:
        title = f"{protocol}: probability lost, by shift; {counted}"
        drawn_map = svg.heat_map(grid, title, top=max(grid.top, 0.05))
    else:
        dots = [
            (math.hypot(*shift), probability, flip, f"{shift_text(shift)}: {percent(probability)}")
            for shift, probability, flip in zip(views.shifts, views.probabilities, flipped, strict=True)
        ]
        drawn_dots = svg.dots(dots, image.probability, f"{protocol}: probability against shift, {counted}", protocol)
    return Chart(protocol, drawn_map, drawn_dots)
