"""`shiftaudit advise`: which downsampling sites are worth patching when nobody is going to train."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.errors import InputError
from shiftaudit.records.patch import POST_ACTIVATION, PatchOptions

if TYPE_CHECKING:
    from shiftaudit.tune.advise import Observer

_SITES = "Sites"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("advise")(advise)


def advise(
    model: opt.Model,
    images: opt.Images,
    output: Annotated[Path | None, typer.Option("--output-file", "-o", help="Write the advice as JSON.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the advice as JSON.")] = False,
    filter_size: Annotated[int, typer.Option("--filter-size", help="1 to 7.")] = 3,
    pad: Annotated[str, typer.Option("--pad", help="reflect, replicate, zeros or circular.")] = "reflect",
    placement: Annotated[
        str, typer.Option("--placement", help="post-activation, or pre-conv (cheap: blur, then the strided conv).")
    ] = POST_ACTIVATION,
    stem: Annotated[
        bool, typer.Option("--stem/--no-stem", help="Try the convolution on the input too.", rich_help_panel=_SITES)
    ] = True,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Sites to try, by name.", rich_help_panel=_SITES)
    ] = None,
    skip: Annotated[list[str] | None, typer.Option("--skip", help="Sites to leave.", rich_help_panel=_SITES)] = None,
    max_accuracy_drop: Annotated[
        float, typer.Option("--max-accuracy-drop", help="With labels: the fall in accuracy that counts as harmless.")
    ] = 0.01,
    labels: opt.Labels = "auto",
    limit: opt.Limit = None,
    protocol: opt.Protocol = "both",
    shifts: opt.Shifts = "8",
    max_shift: opt.MaxShift = None,
    seed: opt.Seed = 0,
    batch_size: opt.BatchSize = None,
    workers: opt.Workers = 2,
    device: opt.Device = "cpu",
    weights: opt.Weights = None,
    arch: opt.Arch = None,
    trust: opt.Trust = False,
    size: opt.Size = None,
    resize: opt.Resize = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    interpolation: opt.Interpolation = None,
    channels: opt.Channels = None,
    output_key: opt.Output = None,
    quiet: opt.Quiet = False,
) -> None:
    """Patch each downsampling site of MODEL alone and say which are worth having without training, if any."""
    choices = PatchOptions(filter_size, pad, stem, False, placement, tuple(only or ()), tuple(skip or ()))
    from shiftaudit.files import check_writable, write_text_atomically

    if output is not None:
        check_writable(output)
    from shiftaudit.cli.run_audit import ImageOptions, find_pictures
    from shiftaudit.models import load_model
    from shiftaudit.records.codec import dumps
    from shiftaudit.render.terminal import detect
    from shiftaudit.render.tune import render_advice
    from shiftaudit.tune.advise import advise as run
    from shiftaudit.views.protocol import Settings

    loaded = load_model(model, opt.model_options(
        weights=weights, arch=arch, trust=trust, size=size, resize=resize, mean=mean, std=std,
        interpolation=interpolation, channels=channels, output=output_key, seed=seed,
    ), device=device)  # fmt: skip
    if loaded.patch_record is not None:
        raise InputError(f"{model} is patched already", hint="ask for advice on the original")
    settings = Settings(
        protocol=protocol, shifts=shifts, max_shift=max_shift, seed=seed, stages=False, batch_size=batch_size,
        workers=workers, device=device,
    )  # fmt: skip
    pictures = find_pictures(ImageOptions(images, labels, limit), loaded, n_classes=None, quiet=quiet)
    advice = run(
        loaded, pictures.files, settings, choices, labels=pictures.labels, max_accuracy_drop=max_accuracy_drop,
        observer=_observer(quiet=quiet),
    )  # fmt: skip
    if output is not None:
        write_text_atomically(output, dumps(advice))
    sys.stdout.write(dumps(advice) if as_json else render_advice(advice, detect(sys.stdout)))


def _observer(*, quiet: bool) -> Observer:
    def observe(what: str, number: int, most: int) -> None:
        if not quiet and sys.stderr.isatty():
            sys.stderr.write(f"{number} of at most {most}: {what}\n")

    return observe
