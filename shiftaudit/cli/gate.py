"""`shiftaudit gate`: judge a report, or a model scored now, against a baseline."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli import stdout
from shiftaudit.cli.config import Config
from shiftaudit.cli.progress import warn
from shiftaudit.cli.run_audit import ImageOptions
from shiftaudit.cli.step_summary import append_step_summary
from shiftaudit.errors import InputError, ShiftAuditError
from shiftaudit.files import check_writable, write_text_atomically
from shiftaudit.records import codec
from shiftaudit.render.gate import github as gate_github
from shiftaudit.render.gate import markdown as gate_markdown
from shiftaudit.render.gate.formats import FORMATS, render_gate
from shiftaudit.render.terminal import Terminal, detect

if TYPE_CHECKING:
    from shiftaudit.gate.rules import Rules
    from shiftaudit.records.gate import Baseline, GateResult
    from shiftaudit.records.report import AuditReport

DEFAULT_BASELINE = Path("baseline.json")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("gate")(gate)


def gate(
    context: typer.Context,
    candidate: Annotated[
        str, typer.Argument(metavar="CANDIDATE", help="A report's JSON, or a MODEL followed by IMAGES.")
    ],
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[IMAGES...]", help="Score CANDIDATE on these with the baseline's protocol."),
    ] = None,
    baseline: Annotated[Path, typer.Option("--baseline", "-b", help="What to judge against.")] = DEFAULT_BASELINE,
    margin: Annotated[
        list[str] | None,
        typer.Option("--margin", metavar="METRIC=SHARE", help="Largest accepted drop; `off` removes one."),
    ] = None,
    floor: Annotated[
        list[str] | None, typer.Option("--floor", metavar="METRIC=SHARE", help="Smallest accepted value.")
    ] = None,
    stage_limit: Annotated[
        list[str] | None,
        typer.Option("--stage-limit", metavar="STAGE=ERROR", help="Largest accepted equivariance error of stages."),
    ] = None,
    stage_margin: Annotated[
        str | None,
        typer.Option(
            "--stage-margin", metavar="ERROR", help="Largest accepted rise of any stage's equivariance error, or `off`."
        ),
    ] = None,
    alpha: Annotated[float, typer.Option("--alpha", help="Largest chance of failing an acceptable candidate.")] = 0.05,
    on_inconclusive: Annotated[
        str, typer.Option("--on-inconclusive", help="warn or pass: exit 0; fail: exit 3.")
    ] = "warn",
    format: Annotated[str, typer.Option("--format", "-f", help="table, json, markdown, junit or github.")] = "table",
    output_file: Annotated[
        Path | None, typer.Option("--output-file", "-o", help="Write the result here instead.")
    ] = None,
    save_report: Annotated[
        Path | None, typer.Option("--save-report", help="Write the report of the MODEL scored now to this file.")
    ] = None,
    labels: opt.Labels = "auto",
    max_skipped: opt.MaxSkipped = None,
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
    output: opt.Output = None,
    quiet: opt.Quiet = False,
) -> None:
    """Fail when CANDIDATE is surely less shift-invariant (or less accurate) than the baseline, and never by noise."""
    from shiftaudit.gate.baseline import baseline_of, read_baseline
    from shiftaudit.gate.judge import check_settings, judge

    with _errors_annotated(format):
        _check_outputs(format, output_file, save_report, images)
        rules = _rules(context.obj, margin or (), floor or (), stage_limit or (), stage_margin)
        check_settings(rules, alpha, on_inconclusive)
        _refuse_same_file(candidate, baseline)
        against = read_baseline(baseline)
        if images:
            _refuse_report(candidate)
            model = {
                "weights": weights,
                "arch": arch,
                "trust": trust,
                "size": size,
                "resize": resize,
                "mean": mean,
                "std": std,
                "interpolation": interpolation,
                "channels": channels,
                "output": output,
            }
            run = {"batch_size": batch_size, "workers": workers, "device": device}
            found = ImageOptions(images, labels, None, max_skipped)
            report = _score(candidate, found, against, model, run, quiet=quiet)
        else:
            report = _read(candidate)
        if save_report is not None:
            write_text_atomically(save_report, codec.dumps(report))
        result = judge(baseline_of(report), against, rules, alpha=alpha, on_inconclusive=on_inconclusive)
        _write(result, format, output_file, quiet=quiet)
    raise typer.Exit(result.exit_code)


@contextmanager
def _errors_annotated(form: str) -> Iterator[None]:
    """Show on GitHub why there is no verdict, where only the exit code of the step would be seen."""
    try:
        yield
    except ShiftAuditError as error:
        if form == "github":
            stdout.write(gate_github.render_error(error), utf8=True)
            append_step_summary(gate_github.error_summary(error), os.environ)
        raise


def _check_outputs(
    form: str, output_file: Path | None, save_report: Path | None, images: Sequence[Path] | None
) -> None:
    if form not in FORMATS:
        raise InputError(f"--format got {form!r}; expected {', '.join(FORMATS)}")
    if save_report is not None and not images:
        raise InputError("--save-report is for a MODEL that is scored now", hint="give MODEL and IMAGES")
    if save_report is not None and save_report == output_file:
        raise InputError(f"--save-report and --output-file both name {save_report}", hint="give two files")
    for path in (output_file, save_report):
        if path is not None:
            check_writable(path)


def _refuse_same_file(candidate: str, baseline: Path) -> None:
    if Path(candidate).exists() and baseline.exists() and Path(candidate).samefile(baseline):
        raise InputError(
            f"candidate and baseline are the same file, {baseline}",
            hint="a model is never worse than itself; give the report of the candidate",
        )


def _read(candidate: str) -> AuditReport:
    from shiftaudit.records.reading import read_report

    path = Path(candidate)
    if path.suffix != ".json":
        raise InputError(
            f"CANDIDATE is {candidate!r}; expected a report's .json, or a MODEL followed by IMAGES",
            hint="`shiftaudit gate MODEL IMAGES` scores the model first",
        )
    return read_report(path)


def _refuse_report(model: str) -> None:
    if Path(model).suffix == ".json":
        raise InputError(f"CANDIDATE is the report {model}, and IMAGES are for a MODEL", hint="leave out IMAGES")


def _score(
    model: str,
    images: ImageOptions,
    against: Baseline,
    model_options: Mapping[str, Any],
    run: Mapping[str, Any],
    *,
    quiet: bool,
) -> AuditReport:
    """Score the model under the baseline's protocol, once it is sure that the two can be compared."""
    from shiftaudit.cli.run_audit import run_audit
    from shiftaudit.gate.precheck import require_comparable
    from shiftaudit.models import load_model
    from shiftaudit.views.protocol import settings_of

    images.check()
    options = opt.model_options(**model_options, seed=against.protocol.seed)
    loaded = load_model(model, options, device=run["device"])
    settings = replace(settings_of(against.protocol), **run)
    require_comparable(settings, loaded.preprocessing, images.found[0], against)
    return run_audit(loaded, images, settings, quiet=quiet)


def _rules(
    config: Config, margin: Sequence[str], floor: Sequence[str], stage_limit: Sequence[str], stage_margin: str | None
) -> Rules:
    from shiftaudit.gate.rules import Rules

    tables = {name: config.tables.get(f"gate.{name}", {}) for name in ("margin", "floor", "stage_limit")}
    return Rules(
        margins=_limits("margin", tables["margin"], margin),
        floors={name: share for name, share in _limits("floor", tables["floor"], floor).items() if share is not None},
        stages={
            name: error
            for name, error in _limits("stage-limit", tables["stage_limit"], stage_limit).items()
            if error is not None
        },
        stage_margin=None if stage_margin is None else _number("--stage-margin", stage_margin),
    )


def _limits(option: str, table: Mapping[str, Any], flags: Sequence[str]) -> dict[str, float | None]:
    """The file's table with the flags' entries on top; `off` (or false) takes an entry away."""
    entries: dict[str, Any] = dict(table)
    for flag in flags:
        name, separator, text = flag.rpartition("=")
        if not separator or not name:
            raise InputError(f"--{option} got {flag!r}; expected NAME=NUMBER")
        entries[name] = text
    return {name: _number(f"{option} of {name}", value) for name, value in entries.items()}


def _number(what: str, value: Any) -> float | None:
    if value is False or str(value).lower() in ("off", "false"):
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{what} is {value!r}; expected a number, or off") from None


def _write(result: GateResult, form: str, output_file: Path | None, *, quiet: bool) -> None:
    text = render_gate(result, form, detect(sys.stdout) if output_file is None else Terminal())
    if output_file is not None:
        write_text_atomically(output_file, text)
    else:
        stdout.write(text, utf8=form != "table")
    if form == "github":
        problem = append_step_summary(gate_markdown.render(result), os.environ)
        if problem is not None:
            warn(problem, quiet=quiet)
