"""`shiftaudit tune`: teach a patched copy on unlabelled pictures to answer as its original does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli.progress import warn
from shiftaudit.errors import InputError
from shiftaudit.records.tune import TuneRecord, TuneSettings

if TYPE_CHECKING:
    from shiftaudit.images.stream import ImageFile
    from shiftaudit.models import LoadedModel
    from shiftaudit.tune.loop import TuneResult
    from shiftaudit.tune.training import Observer, Progress

_TRAINING = "Training"
_DEFAULT = TuneSettings()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tune")(tune)


def tune(
    patched: Annotated[str, typer.Argument(metavar="PATCHED", help="The TorchScript file that `patch` wrote.")],
    images: opt.Images,
    teacher: Annotated[str, typer.Option("--teacher", help="The original it was made from: a file or a name.")],
    output: Annotated[Path | None, typer.Option("--output-file", "-o", help="The tuned copy, a .pt file.")] = None,
    labels: Annotated[
        str,
        typer.Option(
            "--labels", help="none, folder, auto or a CSV file of path,label: ordinary fine-tuning in addition."
        ),
    ] = "none",
    limit: opt.Limit = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", help="Training steps; default: what fits --minutes.", rich_help_panel=_TRAINING),
    ] = None,
    minutes: Annotated[
        float,
        typer.Option("--minutes", help="Budget in minutes where --steps is not given.", rich_help_panel=_TRAINING),
    ] = _DEFAULT.minutes,
    batch_size: Annotated[
        int, typer.Option("--batch-size", help="Crops in one step.", rich_help_panel=_TRAINING)
    ] = _DEFAULT.batch_size,
    lr: Annotated[
        float, typer.Option("--lr", help="Peak learning rate (AdamW).", rich_help_panel=_TRAINING)
    ] = _DEFAULT.lr,
    strength: Annotated[
        float,
        typer.Option("--strength", help="Where the filters end: 1 is full, less blends in plain subsampling."),
    ] = _DEFAULT.strength,
    grow: Annotated[
        float,
        typer.Option(
            "--grow",
            min=0.0,
            max=1.0,
            help="Share of the steps over which the filters grow; 0 goes on with a copy that is tuned already.",
            rich_help_panel=_TRAINING,
        ),
    ] = _DEFAULT.grow,
    train_size: Annotated[
        int | None,
        typer.Option("--train-size", help="Side of the training crops; smaller is faster.", rich_help_panel=_TRAINING),
    ] = None,
    min_scale: Annotated[
        float,
        typer.Option("--min-scale", help="Smallest share of a picture that a crop shows.", rich_help_panel=_TRAINING),
    ] = _DEFAULT.min_scale,
    flip: Annotated[
        bool, typer.Option("--flip/--no-flip", help="Mirror half of the crops.", rich_help_panel=_TRAINING)
    ] = _DEFAULT.flip,
    max_shift: Annotated[
        int | None,
        typer.Option(
            "--max-shift", help="Largest shift of the crops in pixels [16 at 224].", rich_help_panel=_TRAINING
        ),
    ] = None,
    shift_views: Annotated[
        int,
        typer.Option(
            "--shift-views",
            min=0,
            help="Further shifted views that the original's answer is averaged over: more teach more consistency.",
            rich_help_panel=_TRAINING,
        ),
    ] = _DEFAULT.shift_views,
    centred: Annotated[
        bool,
        typer.Option(
            "--centred",
            help="Teach every view the original's answer to the middle one: for pictures with one object in the middle.",
            rich_help_panel=_TRAINING,
        ),
    ] = _DEFAULT.centred,
    batch_norm: Annotated[
        str,
        typer.Option(
            "--batch-norm",
            help="frozen: the original's statistics. reestimate: measure them anew at the end, keep them if better.",
            rich_help_panel=_TRAINING,
        ),
    ] = _DEFAULT.batch_norm,
    holdout: Annotated[
        float, typer.Option("--holdout", help="Share of the pictures kept for choosing the best state.")
    ] = _DEFAULT.holdout,
    checks: Annotated[
        int, typer.Option("--checks", help="How often the held-out pictures are scored.", rich_help_panel=_TRAINING)
    ] = _DEFAULT.checks,
    patience: Annotated[
        int, typer.Option("--patience", help="Checks without improvement before stopping.", rich_help_panel=_TRAINING)
    ] = _DEFAULT.patience,
    seed: Annotated[int, typer.Option("--seed", help="Of crops and views.")] = 0,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="Write the state to this file at every check.")
    ] = None,
    resume: Annotated[Path | None, typer.Option("--resume", help="Go on from a checkpoint.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output file if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
    device: opt.Device = "cpu",
    weights: Annotated[str | None, typer.Option("--weights", help="Of the teacher, where it is a name.")] = None,
    arch: Annotated[str | None, typer.Option("--arch", help="Of the teacher, where it is a state dict.")] = None,
    trust: opt.Trust = False,
    quiet: opt.Quiet = False,
) -> None:
    """Win back what a patch cost, without labels: the original teaches the copy on your own pictures."""
    settings = TuneSettings(
        steps=steps, minutes=minutes, batch_size=batch_size, lr=lr, strength=strength, grow=grow, train_size=train_size,
        min_scale=min_scale, flip=flip, shift=max_shift, shift_views=shift_views,
        centred=centred, batch_norm=batch_norm, holdout=holdout,
        checks=checks, patience=patience, seed=seed,
    )  # fmt: skip
    target = _check_output(output, checkpoint, force=force)
    copy, original = _load(patched, teacher, device, weights=weights, arch=arch, trust=trust, seed=seed)
    files, known = _pictures(images, labels, limit, copy, quiet=quiet)

    from shiftaudit.tune.loop import tune as run

    result = run(
        copy, original, files, settings, _observer(quiet=quiet), labels=known, checkpoint=checkpoint, resume=resume
    )
    _write(result, target)
    _print(result, as_json=as_json, quiet=quiet)


def tune_copy(
    copy: LoadedModel, original: LoadedModel, images: list[Path], settings: TuneSettings, *, quiet: bool
) -> TuneRecord:
    """Teach a copy that was patched a moment ago, in place; what was done and reached."""
    from shiftaudit.tune.loop import tune as run

    files, _ = _pictures(images, "none", None, copy, quiet=quiet)
    return run(copy, original, files, settings, _observer(quiet=quiet)).record


def _check_output(output: Path | None, checkpoint: Path | None, *, force: bool) -> Path:
    """Everything that can be wrong with the paths is found before anything is loaded."""
    from shiftaudit.files import check_writable

    if output is None:
        raise InputError("no output file was given", hint="name it with -o TUNED.pt")
    if output.suffix.lower() not in (".pt", ".pth", ".ts"):
        raise InputError(f"a tuned copy is written as TorchScript, but -o got {output.name}", hint="end it in .pt")
    check_writable(output, force=force)
    if checkpoint is not None:
        check_writable(checkpoint)
    return output


def _load(
    patched: str, teacher: str, device: str, *, weights: str | None, arch: str | None, trust: bool, seed: int
) -> tuple[LoadedModel, LoadedModel]:
    from dataclasses import replace

    from shiftaudit.models import ModelOptions, load_model

    copy = load_model(patched, device=device)
    if copy.info.kind != "torchscript":
        raise InputError(
            f"{patched} is a {copy.info.kind} model; only TorchScript files can be tuned", hint="patch to a .pt file"
        )
    if copy.patch_record is None:
        raise InputError(
            f"{patched} carries no record of a patch", hint="make it with shiftaudit patch MODEL -o PATCHED.pt"
        )
    original = load_model(teacher, ModelOptions(weights=weights, arch=arch, trust=trust, seed=seed), device=device)
    # The copy's own preprocessing decides what both see.
    return copy, replace(original, info=replace(original.info, preprocessing=copy.preprocessing))


def _pictures(
    images: list[Path], labels: str, limit: int | None, model: LoadedModel, *, quiet: bool
) -> tuple[list[ImageFile], dict[str, int]]:
    from shiftaudit.images.labels import read_labels
    from shiftaudit.images.stream import find_images

    files, skipped = find_images(images, limit=limit)
    if skipped:
        warn(f"{len(skipped)} files cannot be used; the first is {skipped[0].path}: {skipped[0].reason}", quiet=quiet)
    known = read_labels(labels, files, class_names=model.class_names, n_classes=None)
    if labels != "none" and known.note:
        warn(known.note, quiet=quiet)
    return files, dict(known.by_path)


def _observer(*, quiet: bool) -> Observer:
    from shiftaudit.render.tune import check_line

    def observe(progress: Progress) -> None:
        if progress.check is None or quiet or not sys.stderr.isatty():
            return
        minutes = progress.seconds / 60
        left = minutes / progress.step * (progress.steps - progress.step)
        line = check_line(progress.check, progress.steps)
        sys.stderr.write(f"{line}  ({minutes:.0f} min, about {left:.0f} left)\n")

    return observe


def _write(result: TuneResult, output: Path) -> None:
    from shiftaudit.models.carried import Carried
    from shiftaudit.surgery.save import save_model

    model = result.model
    carried = Carried(model.preprocessing, model.class_names, model.info.arch, model.patch_record, result.record)
    save_model(output, model.module.cpu(), carried, file_format="torchscript", example=model.example_input())


def _print(result: TuneResult, *, as_json: bool, quiet: bool) -> None:
    from shiftaudit.records.codec import dumps
    from shiftaudit.render.terminal import detect
    from shiftaudit.render.tune import render_tune

    if result.skipped:
        first = result.skipped[0]
        warn(f"{len(result.skipped)} pictures cannot be read; the first is {first.path}: {first.reason}", quiet=quiet)
    sys.stdout.write(dumps(result.record) if as_json else render_tune(result.record, detect(sys.stdout)))
