"""`shiftaudit show`: one image under the microscope."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli import stdout
from shiftaudit.cli.progress import load, working
from shiftaudit.cli.stderr import say
from shiftaudit.cli.takes import only, takes
from shiftaudit.errors import InputError
from shiftaudit.files import write_bytes_atomically
from shiftaudit.images.archives import ARCHIVES
from shiftaudit.records.settings import ModelOptions, Settings
from shiftaudit.records.words import Protocol

if TYPE_CHECKING:
    from shiftaudit.audit.microscope import Microscope
    from shiftaudit.records.report import Shift
    from shiftaudit.render.frames import Frame
    from shiftaudit.render.terminal import Terminal

_FRAMES = 33
_PANELS = 5


@takes
def show(
    *,
    model: opt.Model,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="One image.")],
    output_file: Annotated[
        Path | None,
        opt.output("Write an image: .gif moves along the diagonal, .png shows the nearest flips."),
    ] = None,
    format: Annotated[str, opt.form("table", "json")] = "table",
    settings: Annotated[Settings, only("protocol", "max_shift", "seed", "batch_size", "device")],
    step: Annotated[int | None, typer.Option("--step", min=1, help="Pixels between the shifts of the grid.")] = None,
    options: ModelOptions,
) -> None:
    """Show which shifts of IMAGE change MODEL's answer, and to what: on a grid of shifts and along the diagonal."""
    if output_file is not None and output_file.suffix.lower() not in (".gif", ".png"):
        raise InputError(f"-o got {output_file}; expected a name that ends in .gif or .png")
    if not image.is_file() or image.suffix.lower() in ARCHIVES:
        what = "no single image" if image.exists() else "not a file"
        raise InputError(f"{image} is {what}", hint="give one image; `shiftaudit score` takes folders and archives")
    loaded = load(model, options, device=settings.device, quiet=False)
    from shiftaudit.audit.microscope import look
    from shiftaudit.images.file import ImageFile
    from shiftaudit.render.show import class_name

    with working("moving the image", quiet=False):
        seen = look(
            loaded,
            ImageFile(image, image.name),
            protocol=settings.protocol,
            step=step,
            max_shift=settings.max_shift,
            batch_size=settings.batch_size,
            device=settings.device,
        )
    record = {
        "path": seen.path,
        "prediction": seen.prediction,
        "class_name": class_name(seen.class_names, seen.prediction),
        "probability": seen.probability,
        "step": seen.step,
        "grids": seen.grids,
        "diagonals": seen.diagonals,
    }
    stdout.show(record, partial(_drawn, seen), as_json=format == "json")
    if output_file is not None:
        write_bytes_atomically(output_file, _image(seen, output_file.suffix.lower()))
        say(f"wrote {output_file}")


def _drawn(seen: Microscope, terminal: Terminal) -> str:
    from shiftaudit.render.show import render

    return render(seen.path, seen.prediction, seen.probability, seen.grids, seen.diagonals, seen.class_names, terminal)


def _image(seen: Microscope, suffix: str) -> bytes:
    """Crop where it was measured, since real pixels come in there, else circular."""
    from shiftaudit.render.frames import gif, strip
    from shiftaudit.render.show import flips_by_answer

    protocol = list(seen.grids)[-1]
    if suffix == ".gif":
        diagonal = seen.diagonals[protocol]
        every = max(1, -(-len(diagonal.shifts) // _FRAMES))
        shifts = [(0, 0), *diagonal.shifts[::every]]
        return gif([_frame(seen, protocol, shift) for shift in shifts])
    flips = flips_by_answer(seen.grids[protocol], seen.prediction)
    nearest = sorted((shift for shifts in flips.values() for shift in shifts), key=lambda s: (s[0] ** 2 + s[1] ** 2, s))
    # One for each other answer first, so that the strip shows what the answer flips to, then the nearest of the rest.
    chosen = [shifts[0] for shifts in flips.values()]
    chosen += [shift for shift in nearest if shift not in chosen]
    return strip([_frame(seen, protocol, shift) for shift in [(0, 0), *chosen[: _PANELS - 1]]])


def _frame(seen: Microscope, protocol: Protocol, shift: Shift) -> Frame:
    from shiftaudit.render.frames import Frame
    from shiftaudit.render.numbers import percent, shift_text
    from shiftaudit.render.show import class_name

    answer, probability = seen.prediction, seen.probability
    for views in (seen.grids[protocol], seen.diagonals[protocol]):
        if shift in views.shifts:
            place = views.shifts.index(shift)
            answer, probability = views.predictions[place], views.probabilities[place]
    flipped = answer != seen.prediction
    first = class_name(seen.class_names, seen.prediction)
    return Frame(
        seen.view(protocol, shift),
        "not moved" if shift == (0, 0) else f"moved {shift_text(shift)} px",
        class_name(seen.class_names, answer) + (f", no longer {first}" if flipped else f" {percent(probability)}"),
        probability,
        flipped,
    )
