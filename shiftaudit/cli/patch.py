"""`shiftaudit patch`: write a copy of a model with anti-aliased downsampling, and say what was done."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli import stdout
from shiftaudit.cli.run_audit import ImageOptions, run_audit
from shiftaudit.cli.stderr import warn
from shiftaudit.cli.takes import only, takes, without
from shiftaudit.errors import InputError, PatchError
from shiftaudit.records.patch import PatchOptions
from shiftaudit.records.refit import RefitSettings
from shiftaudit.records.settings import ModelOptions, Settings
from shiftaudit.records.tune import TuneSettings

if TYPE_CHECKING:
    from torch import Tensor

    from shiftaudit.models import LoadedModel
    from shiftaudit.records.gate import Comparison
    from shiftaudit.records.patch import PatchRecord
    from shiftaudit.records.refit import RefitRecord
    from shiftaudit.records.tune import TuneRecord
    from shiftaudit.surgery.patch import PatchResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("patch")(patch)


@takes
def patch(
    *,
    model: opt.Model,
    output_file: Annotated[Path | None, opt.output("The patched copy: .pt, .pt2 or .safetensors.")] = None,
    choices: PatchOptions,
    file_format: Annotated[
        str | None,
        typer.Option("--format", help="torchscript, pt2, state-dict or safetensors; by default from the suffix."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output file if it exists.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, write nothing.")] = False,
    as_json: opt.Json = False,
    verify: Annotated[
        list[Path] | None,
        typer.Option("--verify", metavar="IMAGES", help="Score the original and the copy on these pictures."),
    ] = None,
    refit: Annotated[
        list[Path] | None,
        typer.Option("--refit", metavar="IMAGES", help="Fit the copy on these images, as `shiftaudit refit` does."),
    ] = None,
    tune: Annotated[
        list[Path] | None,
        typer.Option("--tune", metavar="IMAGES", help="Teach the copy on these pictures, as `shiftaudit tune` does."),
    ] = None,
    budget: Annotated[
        TuneSettings,
        only(
            "minutes",
            "seed",
            minutes={"flag": "--tune-minutes", "help": "Budget of --tune.", "group": None},
            seed={"help": "Of random weights, --refit and --tune."},
        ),
    ],
    options: Annotated[ModelOptions, without("output")],
    quiet: opt.Quiet = False,
) -> None:
    """Write a copy of MODEL whose downsampling is low-pass filtered (BlurPool); the copy needs tuning."""
    from shiftaudit.models.source import check_source

    check_source(model, options)
    for images in (verify, refit, tune):
        if images:
            ImageOptions(tuple(images)).check()
    chosen_format = _check_output(output_file, file_format, dry_run=dry_run)
    from shiftaudit.models import load_model

    loaded = load_model(model, options)
    if loaded.patch_record is not None:
        raise PatchError(f"{model} is patched already", hint="patch the original again, with other options")
    if output_file is None or dry_run:
        _print(_plan(loaded, choices), as_json=as_json)
        return
    recovery = _Recovery(refit, RefitSettings(seed=budget.seed), tune, budget)
    result, fitted, tuned = _write(loaded, choices, output_file, chosen_format, recovery, quiet=quiet)
    comparison = _verify(loaded, result, output_file, verify, quiet=quiet) if verify else None
    written = (str(output_file), chosen_format, _original(model, options))
    _print(result.record, written, comparison, fitted, tuned, as_json=as_json)


@dataclass(frozen=True)
class _Recovery:
    """What the patched copy is to be fitted and taught on, and how."""

    refit_on: list[Path] | None
    refit: RefitSettings
    tune_on: list[Path] | None
    tune: TuneSettings


def _original(model: str, options: ModelOptions) -> str:
    """The original as `tune` takes it: its name, and the options without which another network would be loaded."""
    words = [model]
    words += ["--weights", options.weights] if options.weights is not None else []
    words += ["--arch", options.arch] if options.arch is not None else []
    words += ["--trust"] if options.trust else []
    words += ["--seed", str(options.seed)] if options.seed else []
    return shlex.join(words)


def _check_output(output: Path | None, file_format: str | None, *, dry_run: bool) -> str:
    """The file's format; everything that can be wrong with the path is found before the model is loaded."""
    if dry_run:
        return ""
    if output is None:
        raise InputError("no output file was given", hint="name it with -o PATCHED.pt, or see the plan with --dry-run")
    from shiftaudit.surgery.save import format_for

    return format_for(output, file_format)


def _plan(loaded: LoadedModel, choices: PatchOptions) -> PatchRecord:
    from shiftaudit.surgery.patch import plan_patch

    return plan_patch(loaded.module, choices, example_input=_example(loaded))


def _write(
    loaded: LoadedModel,
    choices: PatchOptions,
    output: Path,
    file_format: str,
    recovery: _Recovery,
    *,
    quiet: bool,
) -> tuple[PatchResult, RefitRecord | None, TuneRecord | None]:
    """Patch, refit and tune where asked to, and write once all went well."""
    from shiftaudit.models.carried import Carried
    from shiftaudit.surgery.patch import patch as patch_module
    from shiftaudit.surgery.save import save_model

    example = _example(loaded)
    result = patch_module(loaded.module, choices, example_input=example)
    fitted, tuned, budget = None, None, recovery.tune
    if recovery.refit_on:
        from shiftaudit.cli.refit import fit

        copy, images = replace(loaded, module=result.module), ImageOptions(tuple(recovery.refit_on))
        done = fit(copy, loaded, images, recovery.refit, quiet=quiet)
        result, fitted = replace(result, module=done.model.module), done.record
        budget = replace(budget, grow=0.0)  # the weights fit the full filter already
    if recovery.tune_on:
        from shiftaudit.cli.tune import tune_copy

        tuned = tune_copy(replace(loaded, module=result.module), loaded, recovery.tune_on, budget, quiet=quiet)
    carried = Carried(loaded.preprocessing, loaded.class_names, loaded.info.arch, result.record, tuned, fitted)
    for note in save_model(output, result.module, carried, file_format=file_format, example=example):
        warn(note, quiet=quiet)
    return result, fitted, tuned


def _verify(loaded: LoadedModel, result: PatchResult, output: Path, images: list[Path], *, quiet: bool) -> Comparison:
    """The original (A) and the copy (B) on the same views of the same pictures."""
    from shiftaudit.gate.compare import compare

    copy = replace(loaded, module=result.module, info=replace(loaded.info, source=output.name))
    original, patched = (run_audit(one, ImageOptions(tuple(images)), Settings(), quiet=quiet) for one in (loaded, copy))
    return compare(original, patched)


def _example(loaded: LoadedModel) -> Tensor:
    """Random numbers in the shape of the model's input, as many pictures as the file insists on."""
    import torch

    weight = next((p for p in loaded.module.parameters() if p.is_floating_point()), torch.zeros(()))
    side = loaded.preprocessing.size
    shape = (loaded.fixed_batch or 1, loaded.preprocessing.channels, side, side)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(weight.device, weight.dtype)


def _print(
    record: PatchRecord,
    written: tuple[str, str, str] | None = None,
    comparison: Comparison | None = None,
    fitted: RefitRecord | None = None,
    tuned: TuneRecord | None = None,
    *,
    as_json: bool,
) -> None:
    """Show what was done; `written` is the file, its format and the original's name and options."""
    from shiftaudit.records.codec import dumps, plain
    from shiftaudit.render.compare import render_comparison
    from shiftaudit.render.patch import render_patch, verdict
    from shiftaudit.render.refit import render_refit
    from shiftaudit.render.terminal import detect
    from shiftaudit.render.tune import render_tune

    if as_json:
        extras = {"refit": fitted, "tune": tuned, "comparison": comparison}
        both = {"patch": plain(record)} | {name: plain(value) for name, value in extras.items() if value is not None}
        stdout.write(dumps(record if len(both) == 1 else both), utf8=True)
        return
    terminal, done = detect(sys.stdout), not (fitted is None and tuned is None)
    parts = [
        render_patch(record, terminal=terminal)
        if written is None
        else render_patch(
            record, output=written[0], file_format=written[1], model=written[2], tuned=done, terminal=terminal
        )
    ]
    if fitted is not None:
        parts.append(render_refit(fitted, terminal=terminal))
    if tuned is not None:
        parts.append(render_tune(tuned, terminal))
    if comparison is not None:
        parts.append("\n" + render_comparison(comparison, "table", terminal) + verdict(comparison) + "\n")
    stdout.write("".join(parts))
