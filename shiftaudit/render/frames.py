"""Images of one image under the microscope: an animated GIF along the diagonal, or a PNG strip of the nearest flips."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_KEPT, _FLIPPED, _PAPER, _INK, _RULE = (15, 118, 110), (184, 62, 9), (255, 255, 255), (27, 33, 48), (160, 166, 178)
_SIDE, _BORDER, _TEXT, _PLOT, _MARGIN = 224, 5, 44, 60, 8
_FRAME_MS = 110


@dataclass(frozen=True)
class Frame:
    """One view: its pixels (H, W, 3), two short lines of text, its probability, and whether the answer changed."""

    pixels: NDArray[np.uint8]
    title: str
    answer: str
    probability: float
    flipped: bool


def gif(frames: Sequence[Frame]) -> bytes:
    """An animation there and back again, with the probability of the first answer drawn below."""
    panels = [_with_plot(frames, index) for index in range(len(frames))]
    # One palette for all frames, so that colours do not flicker.
    sheet = Image.new("RGB", (panels[0].width * 4, panels[0].height))
    for place, index in enumerate(np.linspace(0, len(panels) - 1, 4).astype(int)):
        sheet.paste(panels[index], (place * panels[0].width, 0))
    palette = sheet.quantize(256)
    order = [*panels, *panels[-2:0:-1]]
    images = [panel.quantize(palette=palette, dither=Image.Dither.NONE) for panel in order]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=_FRAME_MS, loop=0, optimize=False)
    return buffer.getvalue()


def strip(frames: Sequence[Frame]) -> bytes:
    """All frames side by side, as PNG."""
    panels = [_panel(frame) for frame in frames]
    sheet = Image.new("RGB", (sum(panel.width for panel in panels), panels[0].height), _PAPER)
    for index, panel in enumerate(panels):
        sheet.paste(panel, (index * panel.width, 0))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _drawable(text: str) -> str:
    """Pillow's own font has no minus sign."""
    return text.replace("−", "-")


def _panel(frame: Frame) -> Image.Image:
    """The view in a frame of its verdict's colour, and what was answered below."""
    colour = _FLIPPED if frame.flipped else _KEPT
    width = _SIDE + 2 * (_BORDER + _MARGIN)
    panel = Image.new("RGB", (width, _SIDE + 2 * _BORDER + 2 * _MARGIN + _TEXT), _PAPER)
    pen = ImageDraw.Draw(panel)
    pen.rectangle([_MARGIN, _MARGIN, _MARGIN + _SIDE + 2 * _BORDER - 1, _MARGIN + _SIDE + 2 * _BORDER - 1], fill=colour)
    view = Image.fromarray(frame.pixels)
    small = view.width < _SIDE
    view = view.resize((_SIDE, _SIDE), Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS)
    panel.paste(view, (_MARGIN + _BORDER, _MARGIN + _BORDER))
    top = _MARGIN + _SIDE + 2 * _BORDER + 4
    pen.text((_MARGIN + 2, top), _drawable(frame.title), fill=_INK, font=ImageFont.load_default(14))
    pen.text(
        (_MARGIN + 2, top + 19),
        _fitting(pen, _drawable(frame.answer), width - 2 * _MARGIN),
        fill=colour,
        font=ImageFont.load_default(16),
    )
    return panel


def _fitting(pen: ImageDraw.ImageDraw, text: str, width: int) -> str:
    """The text, shortened until it fits."""
    short = text
    while len(short) > 8 and pen.textlength(short, font=ImageFont.load_default(16)) > width:
        short = short[:-4].rstrip() + "..."
    return short


def _with_plot(frames: Sequence[Frame], index: int) -> Image.Image:
    panel = _panel(frames[index])
    whole = Image.new("RGB", (panel.width, panel.height + _PLOT), _PAPER)
    whole.paste(panel, (0, 0))
    pen = ImageDraw.Draw(whole)
    left, right, top, bottom = _MARGIN, panel.width - _MARGIN, panel.height + 4, panel.height + _PLOT - 8
    pen.line([left, bottom, right, bottom], fill=_RULE)
    pen.line([left, top, right, top], fill=_RULE)
    step = (right - left) / max(1, len(frames) - 1)
    points = [(left + k * step, bottom - frame.probability * (bottom - top)) for k, frame in enumerate(frames)]
    pen.line(points, fill=_INK, width=2)
    for (x, y), frame in zip(points, frames, strict=True):
        if frame.flipped:
            pen.ellipse([x - 2, y - 2, x + 2, y + 2], fill=_FLIPPED)
    x, y = points[index]
    pen.ellipse([x - 5, y - 5, x + 5, y + 5], fill=_FLIPPED if frames[index].flipped else _KEPT)
    return whole
