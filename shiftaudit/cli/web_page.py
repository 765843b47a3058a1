"""The web page of a report, with thumbnails of the images it shows where their folder is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shiftaudit.records.report import AuditReport


def web_page(report: AuditReport, other: AuditReport | None = None, *, images: Sequence[Path] = ()) -> str:
    """The page as text; `images` are the folders that were scored, none for a page without thumbnails.

    Raises:
        InputError: there are no images in the folders.
    """
    from shiftaudit.images.thumbnails import thumbnails
    from shiftaudit.render.html.page import render, shown_images

    small = thumbnails(shown_images(report), report.model.preprocessing, images) if images else {}
    return render(report, other, thumbnails=small)
