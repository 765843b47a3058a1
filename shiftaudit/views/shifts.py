"""Draw shifts, and cut the views of an image under them.

A shift is (dy, dx) in input pixels, positive when the content moves down or right.
- `circular`: the S×S input is rolled, so no pixel is lost and an alias-free circular network would not notice.
- `crop`: an S×S window moves over a larger canvas, so real pixels come in at one side, as when a camera moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from shiftaudit.errors import InputError
from shiftaudit.records.report import Shift
from shiftaudit.records.words import CIRCULAR, CROP, PROTOCOLS, Protocol
from shiftaudit.views.choices import parse_spec

if TYPE_CHECKING:
    from torch import Tensor

MAX_GRID = 10_000


def default_max_shift(protocol: Protocol, size: int) -> int:
    """The largest |dy| and |dx| when the user gives none: 32 px (circular) and 16 px (crop) at 224, in proportion below.

    >>> [default_max_shift(p, s) for s in (224, 299, 64, 28) for p in PROTOCOLS]
    [32, 16, 32, 16, 9, 4, 4, 2]
    """
    return min(32, max(1, size // 7)) if protocol == CIRCULAR else min(16, max(1, size // 14))


def draw_shifts(spec: str, max_shift: int, *, seed: int, image_id: str, protocol: Protocol) -> tuple[Shift, ...]:
    """The shifts of one image under one protocol.

    `spec` is a count (`"8"`: random, stratified), `"iid:K"` (independent uniform draws, as the published protocols do),
    `"grid:STEP"` (every STEP-th shift of the full grid but (0, 0)) or `"diagonal"` ((1, 1) … (m, m)).

    Random shifts depend on (seed, image_id, protocol) alone: not on order, batch, workers, ranks or other images. Stratified
    means a Latin hypercube: each axis is cut into K equal strata, each used once, so that few shifts cover the range and equal
    views are rare (in some 3 % of images with 8 shifts within ±4 px, none within ±16 px; with K above 2m + 1, K different
    places); each shift by itself is uniform on {-m..m}².

    Raises:
        InputError: the spec is not one of these, or asks for more shifts than there are.

    >>> draw_shifts("diagonal", 3, seed=0, image_id="00", protocol="crop")
    ((1, 1), (2, 2), (3, 3))
    >>> draw_shifts("grid:2", 2, seed=0, image_id="00", protocol="crop")
    ((-2, -2), (-2, 0), (-2, 2), (0, -2), (0, 2), (2, -2), (2, 0), (2, 2))
    """
    kind, number = parse_spec(spec)
    if kind == "diagonal":
        return tuple((k, k) for k in range(1, max_shift + 1))
    if kind == "grid":
        return _grid(number, max_shift)
    generator = image_generator(seed, PROTOCOLS.index(protocol), image_id)
    if kind == "iid":
        low, high = (-max_shift + 1, max_shift + 1) if protocol == CROP else (-max_shift, max_shift)
        drawn = generator.integers(low, high, size=(number, 2))
        return tuple((int(dy), int(dx)) for dy, dx in drawn)
    return _stratified(number, max_shift, generator)


def _stratified(number: int, max_shift: int, generator: np.random.Generator) -> tuple[Shift, ...]:
    span = 2 * max_shift + 1
    if number > span**2:
        raise InputError(
            f"{number} random shifts were asked for, but only {span**2} exist within ±{max_shift} px",
            hint="use fewer --shifts, a larger --max-shift or --shifts grid:1",
        )
    if number > span:
        # More views than rows: an axis cannot give each its own, so draw places without replacement instead.
        places = generator.permutation(span**2)[:number]
        return tuple((int(place) // span - max_shift, int(place) % span - max_shift) for place in places)
    axes = [np.floor((generator.permutation(number) + generator.random(number)) / number * span) for _ in range(2)]
    return tuple((int(dy) - max_shift, int(dx) - max_shift) for dy, dx in zip(*axes, strict=True))


def _grid(step: int, max_shift: int) -> tuple[Shift, ...]:
    axis = [k for k in range(-max_shift, max_shift + 1) if k % step == 0]
    shifts = tuple((dy, dx) for dy in axis for dx in axis if (dy, dx) != (0, 0))
    if not shifts:
        raise InputError(f"grid:{step} holds no shift within ±{max_shift} px", hint="use a smaller step")
    if len(shifts) > MAX_GRID:
        raise InputError(
            f"grid:{step} within ±{max_shift} px holds {len(shifts)} shifts, more than {MAX_GRID} per image"
        )
    return shifts


def image_generator(seed: int, stream: int, image_id: str) -> np.random.Generator:
    """Random numbers that depend on these three alone; `image_id` is a hash in hexadecimal digits."""
    words = [int(image_id[i : i + 8], 16) for i in range(0, len(image_id), 8)]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, stream, *words])))


def centre(canvas: Tensor, size: int) -> Tensor:
    """The unshifted view: the central size×size window of a canvas of shape (…, H, W)."""
    return _window(canvas, (0, 0), size)


def cut(canvas: Tensor, protocol: Protocol, shifts: Sequence[Shift], size: int) -> list[Tensor]:
    """The view of a canvas (…, H, W) under each shift of a protocol: tensors of shape (…, size, size).

    `circular` rolls the unshifted view. `crop` cuts the window of the canvas whose content is moved by the shift; the window
    moves against the shift: to see the content lower, it is cut higher up.

    Raises:
        InputError: the canvas is too small for a crop.

    >>> import torch
    >>> canvas = torch.tensor([[[1, 2, 3, 4], [5, 6, 7, 8]]])
    >>> cut(canvas, "circular", [(0, 1)], size=2)[0].tolist(), cut(canvas, "crop", [(0, 1)], size=2)[0].tolist()
    ([[[3, 2], [7, 6]]], [[[1, 2], [5, 6]]])
    """
    if protocol == CIRCULAR:
        view = centre(canvas, size)
        return [view.roll(shift, dims=(-2, -1)) for shift in shifts]
    return [_window(canvas, shift, size) for shift in shifts]


def _window(canvas: Tensor, shift: Shift, size: int) -> Tensor:
    height, width = canvas.shape[-2:]
    y, x = (height - size) // 2 - shift[0], (width - size) // 2 - shift[1]
    if y < 0 or x < 0 or y + size > height or x + size > width:
        raise InputError(
            f"a shift of ({shift[0]}, {shift[1]}) leaves the {height}×{width} canvas around a {size}×{size} input"
        )
    return canvas[..., y : y + size, x : x + size]
