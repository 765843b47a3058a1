"""`shiftaudit advise`: which downsampling sites are worth patching when nobody is going to train."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli import stdout
from shiftaudit.cli.progress import load, progress_bar
from shiftaudit.cli.run_audit import ImageOptions
from shiftaudit.cli.takes import only, takes, without
from shiftaudit.errors import InputError
from shiftaudit.files import write_text_atomically
from shiftaudit.records.patch import PatchOptions
from shiftaudit.records.settings import ModelOptions, Settings

if TYPE_CHECKING:
    from shiftaudit.models import LoadedModel
    from shiftaudit.records.advise import Advice


_Choices = Annotated[
    PatchOptions,
    without(
        "patchify",
        stem={"default": True, "help": "Try the convolution on the input too."},
        only={"help": "Sites to try, by name."},
    ),
]


@takes
def advise(
    *,
    model: opt.Model,
    images: ImageOptions,
    output_file: Annotated[Path | None, opt.output("Write the advice to this file: .json or .txt.")] = None,
    printed: opt.Printed,
    choices: _Choices,
    max_accuracy_drop: Annotated[
        float, typer.Option("--max-accuracy-drop", help="With labels: the fall in accuracy that counts as harmless.")
    ] = 0.01,
    with_refit: Annotated[
        bool, typer.Option("--refit", help="Try growing sets of sites with a refit on half of the images, too.")
    ] = False,
    settings: Annotated[Settings, only("protocol", "shifts", "max_shift", "seed", "batch_size", "workers", "device")],
    options: ModelOptions,
    quiet: opt.Quiet = False,
) -> None:
    """Patch each downsampling site of MODEL alone and say which are worth having without training, if any."""
    from shiftaudit.views.choices import check_settings

    kind = opt.kind_of(None, output_file, ("json", "table"))
    check_settings(settings)
    images.check()
    loaded = load(model, options, device=settings.device, quiet=quiet)
    from shiftaudit.records.codec import dumps
    from shiftaudit.render.tune import render_advice

    if loaded.patch_record is not None:
        raise InputError(f"{model} is patched already", hint="ask for advice on the original")
    used = replace(settings, stages=False)
    advice = _advice(loaded, images, used, choices, max_accuracy_drop, with_refit=with_refit, quiet=quiet)
    if output_file is not None:
        write_text_atomically(output_file, dumps(advice) if kind == "json" else render_advice(advice))
    stdout.show(advice, partial(render_advice, advice), as_json=printed.as_json)


def _advice(
    loaded: LoadedModel,
    images: ImageOptions,
    settings: Settings,
    choices: PatchOptions,
    max_drop: float,
    *,
    with_refit: bool,
    quiet: bool,
) -> Advice:
    from shiftaudit.tune.advise import advise as run
    from shiftaudit.tune.advise_refit import with_refit as refitted

    files, labels = images.found[0], images.known_labels(loaded, quiet=quiet).by_path
    with progress_bar(quiet=quiet, unit="trials", what="preparing") as bar:
        observer = None if bar is None else lambda what, number, most: bar.update(number - 1, most, what)
        advice = run(loaded, files, settings, choices, labels=labels, max_accuracy_drop=max_drop, observer=observer)
        if not with_refit:
            return advice
        return refitted(advice, loaded, files, settings, labels=labels, max_accuracy_drop=max_drop, observer=observer)
