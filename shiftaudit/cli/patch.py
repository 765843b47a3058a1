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
from shiftaudit.cli.bound import check_images, copy_within_bound
from shiftaudit.cli.progress import load, working
from shiftaudit.cli.run_audit import ImageOptions, run_audit
from shiftaudit.cli.stderr import note, warn
from shiftaudit.cli.takes import only, takes, without
from shiftaudit.cli.teaching import check_output, save_copy
from shiftaudit.errors import PatchError
from shiftaudit.records.bound import BoundOptions
from shiftaudit.records.patch import PatchOptions
from shiftaudit.records.recovery import RecoveryOptions
from shiftaudit.records.refit import RefitSettings
from shiftaudit.records.settings import ModelOptions, Settings
from shiftaudit.records.tune import TuneSettings

if TYPE_CHECKING:
    from shiftaudit.models import LoadedModel
    from shiftaudit.records.advise import Change
    from shiftaudit.records.cause import Cause
    from shiftaudit.records.gate import Comparison


_Budget = Annotated[
    TuneSettings,
    only(
        "minutes",
        "seed",
        minutes={"flag": "--tune-minutes", "help": "Minutes for --tune.", "group": "Recovery"},
        seed={"help": "Seed of random weights, --refit and --tune."},
    ),
]


@takes
def patch(
    *,
    model: opt.Model,
    output_file: Annotated[Path | None, opt.output("The patched copy: .pt, .pt2, .onnx or .safetensors.")] = None,
    choices: PatchOptions,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--file-format", help="torchscript, pt2, onnx, state-dict or safetensors; by default from the suffix."
        ),
    ] = None,
    force: opt.Force = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, write nothing.")] = False,
    printed: opt.Printed,
    recovery: RecoveryOptions,
    bound: BoundOptions,
    budget: _Budget,
    options: Annotated[ModelOptions, without("output")],
    quiet: opt.Quiet = False,
) -> None:
    """Write a copy of MODEL whose downsampling is low-pass filtered (BlurPool), fitted to it with --refit."""
    check_images(bound, recovery)
    if not dry_run:
        target, chosen_format = check_output(output_file, "PATCHED.pt, or see the plan with --dry-run", file_format)
    loaded = load(model, options, quiet=quiet)
    if loaded.patch_record is not None:
        raise PatchError(f"{model} is patched already", hint="patch the original again, with other options")
    if dry_run:
        _print_plan(loaded, choices, as_json=printed.as_json)
        return
    apart = replace(choices, fold=False)
    if bound.max_drop is not None:
        copy = copy_within_bound(loaded, apart, bound, budget.seed, as_json=printed.as_json, quiet=quiet)
    else:
        copy = _recovered(loaded, apart, recovery, budget, quiet=quiet)
    copy = _folded(loaded, copy) if choices.fold else copy
    if recovery.check_export is not None:
        _check_export(copy, quiet=quiet)
    for remark in save_copy(copy, target, chosen_format):
        warn(remark, quiet=quiet)
    verified = _verify(loaded, copy, target, recovery.verify, quiet=quiet) if recovery.verify else None
    _print_copy(copy, verified, str(target), chosen_format, _original(model, options), as_json=printed.as_json)


def _original(model: str, options: ModelOptions) -> str:
    """The original as `tune` takes it: its name, and the options without which another network would be loaded."""
    words = [model]
    words += ["--weights", options.weights] if options.weights is not None else []
    words += ["--arch", options.arch] if options.arch is not None else []
    words += ["--trust"] if options.trust else []
    words += ["--seed", str(options.seed)] if options.seed else []
    return shlex.join(words)


def _recovered(
    loaded: LoadedModel, choices: PatchOptions, recovery: RecoveryOptions, budget: TuneSettings, *, quiet: bool
) -> LoadedModel:
    """The patched copy, refitted and tuned where asked to."""
    from shiftaudit.surgery.patch import patched

    with working("patching", quiet=quiet):
        copy = patched(loaded, choices)
    if recovery.refit:
        from shiftaudit.cli.refit import fit

        copy = fit(copy, loaded, ImageOptions(recovery.refit), RefitSettings(seed=budget.seed), quiet=quiet).model
    if recovery.tune:
        from shiftaudit.cli.tune import tune_copy

        copy = tune_copy(copy, loaded, ImageOptions(recovery.tune, "none"), budget, quiet=quiet).model
    return copy


def _folded(loaded: LoadedModel, copy: LoadedModel) -> LoadedModel:
    """The copy, fitted or not, with its filters merged into the convolutions where that is exact."""
    from shiftaudit.surgery.patch import patched

    record = copy.patch_record
    assert record is not None
    choices = replace(record.options, fold=True, strength=record.strength)
    made = patched(loaded, choices, weights=copy.module.state_dict())
    return copy.with_module(made.module, patch_record=made.patch_record)


def _check_export(copy: LoadedModel, *, quiet: bool) -> None:
    from shiftaudit.surgery.export_check import check_onnx

    difference = check_onnx(copy.module, copy.random_input())
    note(
        f"ONNX Runtime computes the same as the copy: the largest difference is {difference:.1e} of the output",
        quiet=quiet,
    )


def _verify(
    loaded: LoadedModel, copy: LoadedModel, output: Path, images: tuple[Path, ...], *, quiet: bool
) -> _Verified:
    """The original (A) and the copy (B) on the same views of the same images."""
    from shiftaudit.gate.compare import compare
    from shiftaudit.tune.advise import agreement_of

    copy = replace(copy, info=replace(copy.info, source=output.name))
    original, patched = (run_audit(one, ImageOptions(images), Settings(), quiet=quiet) for one in (loaded, copy))
    return _Verified(agreement_of(patched, original), compare(original, patched), original.cause, patched.cause)


def _print_plan(loaded: LoadedModel, choices: PatchOptions, *, as_json: bool) -> None:
    from shiftaudit.render.patch import render_patch
    from shiftaudit.surgery.patch import plan_patch

    record = plan_patch(loaded.module, choices, example_input=loaded.random_input())
    stdout.show(record, lambda terminal: render_patch(record, terminal=terminal), as_json=as_json)


@dataclass(frozen=True)
class _Verified:
    """The original and the copy on the same views, and why the answers of each change; named as in the JSON."""

    agreement: Change
    """Share of the images whose unshifted answer is the same."""
    comparison: Comparison
    cause: Cause | None
    """Of the original."""
    cause_after: Cause | None


def _print_copy(
    copy: LoadedModel, verified: _Verified | None, output: str, file_format: str, model: str, *, as_json: bool
) -> None:
    from shiftaudit.records.codec import dumps, plain
    from shiftaudit.render.bound import render_search
    from shiftaudit.render.compare import render_comparison
    from shiftaudit.render.patch import render_patch, render_verified
    from shiftaudit.render.refit import render_refit
    from shiftaudit.render.terminal import detect
    from shiftaudit.render.tune import render_tune

    record, search, fitted, tuned = copy.patch_record, copy.search_record, copy.refit_record, copy.tune_record
    assert record is not None
    if as_json:
        extras: dict[str, object] = {"search": search, "refit": fitted, "tune": tuned}
        extras |= {} if verified is None else vars(verified)
        both = {"patch": plain(record)} | {name: plain(value) for name, value in extras.items() if value is not None}
        stdout.write(dumps(record if len(both) == 1 else both), utf8=True)
        return
    terminal, done = detect(sys.stdout), not (fitted is None and tuned is None)
    parts = [render_patch(record, output=output, file_format=file_format, model=model, tuned=done, terminal=terminal)]
    if search is not None:
        parts.append("\n" + render_search(search, terminal))
    if fitted is not None:
        parts.append(render_refit(fitted, terminal=terminal))
    if tuned is not None:
        parts.append(render_tune(tuned, terminal))
    if verified is not None:
        parts.append("\n" + render_comparison(verified.comparison, "table", terminal))
        parts.append(render_verified(**vars(verified), terminal=terminal))
    stdout.write("".join(parts))
