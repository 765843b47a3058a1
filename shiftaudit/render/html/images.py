"""The page's part about the least stable images: a card each, with a thumbnail and probability against shift."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from shiftaudit.records.report import AuditReport, ImageResult, Shift, Views
from shiftaudit.records.words import Protocol
from shiftaudit.render import findings
from shiftaudit.render.grids import probability_grid
from shiftaudit.render.html import svg
from shiftaudit.render.numbers import percent, signed
from shiftaudit.render.sentences import class_name

SHOWN = 12
_FLIPS_NAMED = 3
_MAP_CELLS = 33


@dataclass(frozen=True)
class Chart:
    """One image under one protocol: a map where the shifts form a grid, dots over distance where they are random."""

    protocol: Protocol
    flips: tuple[str, ...]
    """The first shifts that change the answer, as text."""
    more: int
    """How many others there are."""
    map: svg.HeatMap | None
    dots: svg.Dots | None


@dataclass(frozen=True)
class Card:
    """One image."""

    path: str
    answer: str
    probability: str
    label: str | None
    """The right class by its name; None without a label."""
    right: bool
    changed: tuple[int, int]
    """(views whose answer differs from the unshifted one, views)."""
    instead: tuple[tuple[str, int], ...]
    """The answers it changes to and how often, the most frequent first."""
    more: bool
    """Whether there are other answers still."""
    after: tuple[int, int] | None
    """As `changed`, in the second report."""
    thumbnail: str | None
    """JPEG as base64."""
    charts: tuple[Chart, ...]


@dataclass(frozen=True)
class ImagesPart:
    """What the page shows of single images."""

    n_images: int
    n_changed: int
    cards: tuple[Card, ...]


def images_part(report: AuditReport, other: AuditReport | None, thumbnails: Mapping[str, bytes]) -> ImagesPart | None:
    """The images whose answers change most often, and what the other report says of them; None without images."""
    if not report.per_image:
        return None
    later = {image.id: image for image in other.per_image} if other is not None else {}
    cards = [
        _card(report, image, later.get(image.id), thumbnails.get(image.id))
        for image in findings.least_stable(report, SHOWN)
    ]
    changed = sum(1 for image in report.per_image if findings.flips(image)[0])
    return ImagesPart(len(report.per_image), changed, tuple(cards))


def _card(report: AuditReport, image: ImageResult, later: ImageResult | None, jpeg: bytes | None) -> Card:
    answers = [answer for views in image.views.values() for answer in views.predictions if answer != image.prediction]
    instead = Counter(answers).most_common()
    return Card(
        path=image.path,
        answer=class_name(report, image.prediction),
        probability=percent(image.probability),
        label=None if image.label is None else class_name(report, image.label),
        right=image.label == image.prediction,
        changed=findings.flips(image),
        instead=tuple((class_name(report, answer), count) for answer, count in instead[:_FLIPS_NAMED]),
        more=len(instead) > _FLIPS_NAMED,
        after=None if later is None else findings.flips(later),
        thumbnail=None if jpeg is None else base64.b64encode(jpeg).decode("ascii"),
        charts=tuple(_chart(protocol, views, image) for protocol, views in image.views.items() if views.shifts),
    )


def _chart(protocol: Protocol, views: Views, image: ImageResult) -> Chart:
    flipped = [answer != image.prediction for answer in views.predictions]
    flips = [_shift_text(shift) for shift, flip in zip(views.shifts, flipped, strict=True) if flip]
    counted = f"{len(flips)} of {len(flipped)} views change the answer"
    lost = [max(0.0, image.probability - value) for value in views.probabilities]
    grid = probability_grid(views.shifts, lost, _MAP_CELLS)
    drawn_map = drawn_dots = None
    if grid is not None:
        title = f"{protocol}: probability lost, by shift; {counted}"
        drawn_map = svg.heat_map(grid, title, top=max(grid.top, 0.05))
    else:
        dots = [
            (math.hypot(*shift), probability, flip, f"{_shift_text(shift)}: {percent(probability)}")
            for shift, probability, flip in zip(views.shifts, views.probabilities, flipped, strict=True)
        ]
        drawn_dots = svg.dots(dots, image.probability, f"{protocol}: probability against shift, {counted}")
    named, more = flips[:_FLIPS_NAMED], max(0, len(flips) - _FLIPS_NAMED)
    return Chart(protocol, tuple(named), more, drawn_map, drawn_dots)


def _shift_text(shift: Shift) -> str:
    return f"({signed(shift[0])}, {signed(shift[1])})"
