"""`shiftaudit gate`: judge a report, or a model scored now, against a baseline."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli import stdout
from shiftaudit.cli.isolated import isolated
from shiftaudit.cli.progress import load
from shiftaudit.cli.run_audit import ImageOptions, run_audit
from shiftaudit.cli.stderr import warn
from shiftaudit.cli.step_summary import append_step_summary
from shiftaudit.cli.takes import only, takes, without
from shiftaudit.errors import InputError
from shiftaudit.files import suffix_of, write_text_atomically
from shiftaudit.records.collector import uncollected
from shiftaudit.records.gate import Rules
from shiftaudit.records.settings import ModelOptions, RunOptions, Settings

if TYPE_CHECKING:
    from shiftaudit.records.gate import Baseline, GateResult, Rules
    from shiftaudit.records.report import AuditReport

DEFAULT_BASELINE = Path("baseline.json")


_POLICIES = "evidence: exit 3 where an estimate lies beyond its limit, else 0; warn or pass: 0; fail: 3."

_FORMATS = ("table", "json", "markdown", "junit", "github", "github-benchmark")
_Format = Annotated[str | None, opt.form(*_FORMATS)]
_Images = Annotated[
    ImageOptions,
    without(
        "limit",
        paths={
            "default": (),
            "metavar": "[IMAGES...]",
            "help": "Score CANDIDATE on these with the baseline's protocol.",
        },
    ),
]


@takes
def gate(
    *,
    candidate: Annotated[
        str, typer.Argument(metavar="CANDIDATE", help="A report's JSON, or a MODEL followed by IMAGES.")
    ],
    images: _Images,
    baseline: Annotated[Path, typer.Option("--baseline", "-b", help="What to judge against.")] = DEFAULT_BASELINE,
    rules: Rules,
    alpha: Annotated[float, typer.Option("--alpha", help="Largest chance of failing an acceptable candidate.")] = 0.05,
    on_inconclusive: Annotated[str, typer.Option("--on-inconclusive", help=_POLICIES)] = "evidence",
    format: _Format = None,
    output_file: Annotated[
        Path | None, opt.output("Write it to this file instead: .json, .md, .txt or .xml (JUnit).")
    ] = None,
    save_report: Annotated[
        Path | None, opt.output("Write the report of the MODEL scored now to this file.", "--save-report")
    ] = None,
    run: Annotated[RunOptions, only("max_skipped")],
    settings: Annotated[Settings, only("batch_size", "workers", "device")],
    options: Annotated[ModelOptions, without("seed")],
    isolate: Annotated[
        bool, typer.Option("--isolate", help="Score in a child process that can neither write files nor end this one.")
    ] = False,
    time_limit: Annotated[float, typer.Option("--time-limit", help="Seconds that --isolate gives the model.")] = 3600.0,
    quiet: opt.Quiet = False,
) -> None:
    """Fail when CANDIDATE is surely less shift-invariant (or less accurate) than the baseline, and not because of noise."""
    from shiftaudit.gate.baseline import baseline_of, read_baseline
    from shiftaudit.gate.judge import check_settings, judge

    if not images.paths and (save_report is not None or isolate):
        option = "--save-report" if save_report is not None else "--isolate"
        raise InputError(f"{option} is for a MODEL that is scored now", hint="give MODEL and IMAGES")
    form = opt.kind_of(format, output_file, _FORMATS)
    check_settings(rules, alpha, on_inconclusive)
    _refuse_same_file(candidate, baseline)
    with nullcontext() if images.paths else uncollected():
        against = read_baseline(baseline)
        if images.paths:
            # Processes that decode share memory through files, which an isolated one may not make.
            settings = replace(settings, workers=0) if isolate else settings
            work = partial(_score, against=against, settings=settings, run=run, quiet=quiet)
            score = partial(isolated, work, seconds=time_limit) if isolate else work
            report = score(candidate, options, images)
            _save(report, save_report)
        else:
            report = _read(candidate)
        result = judge(baseline_of(report), against, rules, alpha=alpha, on_inconclusive=on_inconclusive)
        _write(result, form, output_file, quiet=quiet)
    raise typer.Exit(result.exit_code)


def _refuse_same_file(candidate: str, baseline: Path) -> None:
    if Path(candidate).exists() and baseline.exists() and Path(candidate).samefile(baseline):
        raise InputError(
            f"candidate and baseline are the same file, {baseline}",
            hint="a model is never worse than itself; give the report of the candidate",
        )


def _read(candidate: str) -> AuditReport:
    from shiftaudit.records.reading import read_report

    path = Path(candidate)
    if suffix_of(path) != ".json":
        raise InputError(
            f"CANDIDATE is {candidate!r}; expected a report's .json, or a MODEL followed by IMAGES",
            hint="`shiftaudit gate MODEL IMAGES` scores the model first",
        )
    return read_report(path)


def _score(
    model: str,
    options: ModelOptions,
    images: ImageOptions,
    *,
    against: Baseline,
    settings: Settings,
    run: RunOptions,
    quiet: bool,
) -> AuditReport:
    """Score the model under the baseline's protocol, once it is sure that the two can be compared."""
    if suffix_of(Path(model)) == ".json":
        raise InputError(f"CANDIDATE is the report {model}, and IMAGES are for a MODEL", hint="leave out IMAGES")
    images.check()
    loaded = load(model, replace(options, seed=against.protocol.seed), device=settings.device, quiet=quiet)
    from shiftaudit.gate.precheck import require_comparable
    from shiftaudit.views.protocol import settings_of

    settings = settings_of(against.protocol, settings)
    require_comparable(settings, loaded.preprocessing, images.found[0], against)
    return run_audit(loaded, images, settings, quiet=quiet, options=run)


def _save(report: AuditReport, path: Path | None) -> None:
    from shiftaudit.records.codec import dumps

    if path is not None:
        write_text_atomically(path, dumps(report))


def _write(result: GateResult, form: str, output_file: Path | None, *, quiet: bool) -> None:
    from shiftaudit.render.gate import markdown
    from shiftaudit.render.gate.formats import render_gate

    stdout.deliver(partial(render_gate, result, form), output_file, utf8=form != "table")
    if form == "github":
        problem = append_step_summary(markdown.render(result), os.environ)
        if problem is not None:
            warn(problem, quiet=quiet)
