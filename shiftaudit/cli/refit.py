"""`shiftaudit refit`: fit a patched copy to its original in closed form, on unlabelled images."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli.progress import progress_bar, warn
from shiftaudit.errors import InputError
from shiftaudit.records.refit import REFIT_LAYERS, RefitSettings

if TYPE_CHECKING:
    from shiftaudit.models import LoadedModel
    from shiftaudit.surgery.refit.walk import Observer
    from shiftaudit.tune.refit import RefitResult

_FITTING = "Fitting"
_DEFAULT = RefitSettings()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("refit")(refit)


def refit(
    patched: Annotated[str, typer.Argument(metavar="PATCHED", help="The file that `patch` wrote.")],
    images: opt.Images,
    teacher: Annotated[str, typer.Option("--teacher", help="The original it was made from: a file or a name.")],
    output: Annotated[Path | None, typer.Option("--output-file", "-o", help="The fitted copy.")] = None,
    crops: Annotated[int, typer.Option("--crops", help="Random crops of the images, half of them rolled.")] = 500,
    layers: Annotated[
        str,
        typer.Option(
            "--layers",
            help="projections (layers that hand on without an activation, and the head) or all.",
            rich_help_panel=_FITTING,
        ),
    ] = _DEFAULT.layers,
    ridge: Annotated[
        float | None,
        typer.Option(
            "--ridge",
            help="Pull towards the present weights, in mean squares of a layer's input; default: the best on held-out "
            "images, layer by layer.",
            rich_help_panel=_FITTING,
        ),
    ] = None,
    sweeps: Annotated[
        int, typer.Option("--sweeps", help="How often the layers are walked through.", rich_help_panel=_FITTING)
    ] = _DEFAULT.sweeps,
    memory: Annotated[
        float,
        typer.Option("--memory", help="GiB for what is kept between layers; less is slower.", rich_help_panel=_FITTING),
    ] = _DEFAULT.memory,
    seed: Annotated[int, typer.Option("--seed", help="Of crops and positions.")] = 0,
    limit: opt.Limit = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output file if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
    device: opt.Device = "cpu",
    weights: Annotated[str | None, typer.Option("--weights", help="Of the teacher, where it is a name.")] = None,
    arch: Annotated[str | None, typer.Option("--arch", help="Of the teacher, where it is a state dict.")] = None,
    trust: opt.Trust = False,
    quiet: opt.Quiet = False,
) -> None:
    """Win back what a patch cost in a minute, without labels or gradients: layer by layer, in closed form."""
    if layers not in REFIT_LAYERS:
        raise InputError(f"--layers got {layers}; expected one of {', '.join(REFIT_LAYERS)}")
    settings = RefitSettings(layers, crops=crops, ridge=ridge, sweeps=sweeps, memory=memory, seed=seed)
    file_format = _check_output(output, force=force)
    copy, original = _load(patched, teacher, device, weights=weights, arch=arch, trust=trust, seed=seed)
    result = fit(copy, original, images, settings, limit=limit, quiet=quiet)
    assert output is not None
    _write(result, output, file_format)
    _print(result, output, as_json=as_json)


def fit(
    copy: LoadedModel,
    original: LoadedModel,
    images: list[Path],
    settings: RefitSettings,
    *,
    limit: int | None = None,
    quiet: bool,
) -> RefitResult:
    """The refit, with a progress bar, and a warning about files that cannot be used."""
    from shiftaudit.images.stream import find_images
    from shiftaudit.tune.refit import refit as run

    files, unusable = find_images(images, limit=limit)
    with _observer(quiet=quiet) as observer:
        result = run(copy, original, files, settings, observer)
    skipped = [*unusable, *result.skipped]
    if skipped:
        warn(f"{len(skipped)} files cannot be used; the first is {skipped[0].path}: {skipped[0].reason}", quiet=quiet)
    return result


@contextmanager
def _observer(*, quiet: bool) -> Iterator[Observer | None]:
    with progress_bar(quiet=quiet, unit="batches") as bar:
        if bar is None:
            yield None
            return
        yield lambda done, total, layer: bar.update(done, total, f"fitting {layer}" if layer else "fitted")


def _check_output(output: Path | None, *, force: bool) -> str:
    """The file's format; everything that can be wrong with the path is found before anything is loaded."""
    if output is None:
        raise InputError("no output file was given", hint="name it with -o FITTED.pt")
    from shiftaudit.files import check_writable
    from shiftaudit.surgery.save import format_for

    check_writable(output, force=force)
    return format_for(output)


def _load(
    patched: str, teacher: str, device: str, *, weights: str | None, arch: str | None, trust: bool, seed: int
) -> tuple[LoadedModel, LoadedModel]:
    from shiftaudit.models import ModelOptions, load_model

    copy = load_model(patched, ModelOptions(trust=trust), device=device)
    if copy.patch_record is None:
        raise InputError(
            f"{patched} carries no record of a patch", hint="make it with shiftaudit patch MODEL -o PATCHED.pt"
        )
    original = load_model(teacher, ModelOptions(weights=weights, arch=arch, trust=trust, seed=seed), device=device)
    # The copy's own preprocessing decides what both see.
    return copy, replace(original, info=replace(original.info, preprocessing=copy.preprocessing))


def _write(result: RefitResult, output: Path, file_format: str) -> None:
    import torch

    from shiftaudit.models.carried import Carried
    from shiftaudit.surgery.save import save_model

    model = result.model
    carried = Carried(model.preprocessing, model.class_names, model.info.arch, model.patch_record, refit=result.record)
    side = model.preprocessing.size
    example = torch.zeros(model.fixed_batch or 1, model.preprocessing.channels, side, side)
    save_model(output, model.module.cpu(), carried, file_format=file_format, example=example)


def _print(result: RefitResult, output: Path, *, as_json: bool) -> None:
    from shiftaudit.records.codec import dumps
    from shiftaudit.render.refit import render_refit
    from shiftaudit.render.terminal import detect

    if as_json:
        sys.stdout.write(dumps(result.record))
    else:
        sys.stdout.write(render_refit(result.record, output=str(output), terminal=detect(sys.stdout)))
