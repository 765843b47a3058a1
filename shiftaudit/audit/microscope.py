"""One image under the microscope: the answer under every shift of a grid and along a diagonal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shiftaudit.audit.scorer import Scorer
from shiftaudit.errors import InputError
from shiftaudit.images.decode import DecodedImage, decode
from shiftaudit.images.file import ImageFile, UnreadableImageError
from shiftaudit.models import LoadedModel
from shiftaudit.models.given import AnyModel, as_loaded
from shiftaudit.records.report import ImageResult, Preprocessing, Shift, Views
from shiftaudit.records.settings import Settings
from shiftaudit.records.words import BOTH, Protocol
from shiftaudit.views.choices import chosen_protocols
from shiftaudit.views.protocol import resolve
from shiftaudit.views.shifts import cut, default_max_shift

# A grid of at most this many cells to a side: fine enough to see the lattice, and a few hundred forward passes at 224.
_CELLS, _CELLS_OF_SMALL_INPUTS, _SMALL = 17, 33, 112


@dataclass(frozen=True)
class Microscope:
    """What one model says of one image under many shifts."""

    path: str
    prediction: int
    probability: float
    step: int
    """Of the grid, in input pixels."""
    grids: dict[Protocol, Views]
    """By protocol: the full grid of shifts."""
    diagonals: dict[Protocol, Views]
    """By protocol: (1, 1), (2, 2) … up to the largest shift."""
    class_names: tuple[str, ...] | None
    canvas: NDArray[np.uint8]
    """(C, canvas, canvas): what the views are cut from."""
    size: int

    def view(self, protocol: Protocol, shift: Shift) -> NDArray[np.uint8]:
        """The pixels of one view as (size, size, 3)."""
        pixels = cut(torch.from_numpy(self.canvas), protocol, [shift], self.size)[0].permute(1, 2, 0)
        return np.ascontiguousarray(pixels.expand(-1, -1, 3).numpy())


def look(
    model: AnyModel,
    image: ImageFile | str | Path,
    *,
    preprocessing: Preprocessing | None = None,
    protocol: str = BOTH,
    step: int | None = None,
    max_shift: int | None = None,
    batch_size: int | None = None,
    device: str = "cpu",
) -> Microscope:
    """Score one image on a grid of shifts every `step` pixels, and on every pixel of a diagonal.

    Args:
        model: a module of your own, a loaded model, or whatever the command line takes as MODEL.
        image: its file.
        preprocessing: of a module of your own; ImageNet's by default.
        protocol: `both`, `circular` or `crop`.
        step: pixels between the shifts of the grid; without one it has at most 17×17 shifts, 33×33 for small inputs.
        max_shift: in input pixels; without one as `score` has it.
        batch_size: views in one pass.
        device: where to run the model.

    Raises:
        InputError: the image cannot be read, or a setting does not fit the model's input.
        ModelError: the model cannot be loaded, or failed.
    """
    model = as_loaded(model, preprocessing, device)
    file = image if isinstance(image, ImageFile) else ImageFile(Path(image), Path(image).name)
    size = model.preprocessing.size
    step = step or _grid_step(protocol, max_shift, size)
    settings = Settings(
        protocol, f"grid:{step}", max_shift, stages=False, batch_size=batch_size, workers=0, device=device
    )
    decoded = _decoded(file, model.preprocessing, resolve(settings, size)[1].canvas)
    grid, line = (_scored(model, decoded, replace(settings, shifts=spec)) for spec in (settings.shifts, "diagonal"))
    return Microscope(
        decoded.relative,
        grid.prediction,
        grid.probability,
        step,
        grid.views,
        line.views,
        model.class_names,
        decoded.pixels,
        size,
    )


def _decoded(file: ImageFile, preprocessing: Preprocessing, canvas: int) -> DecodedImage:
    try:
        return decode(file, preprocessing, canvas)
    except UnreadableImageError as error:
        raise InputError(f"cannot read {file.path}: {error.message}") from error


def _scored(model: LoadedModel, image: DecodedImage, settings: Settings) -> ImageResult:
    used, info = resolve(settings, model.preprocessing.size)
    return Scorer(model, info, used).score(image.pixels, image.id, image.relative, None).image


def _grid_step(protocol: str, max_shift: int | None, size: int) -> int:
    """The smallest step whose grid is not too large; with both protocols the larger range decides, so that the cells of both
    maps are equally wide."""
    reach = max_shift or max(default_max_shift(name, size) for name in chosen_protocols(protocol))
    cells = _CELLS_OF_SMALL_INPUTS if size <= _SMALL else _CELLS
    return max(1, -(-2 * reach // (cells - 1)))
