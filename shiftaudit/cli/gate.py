"""`shiftaudit gate`: judge a report, or a model scored now, against a baseline."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shiftaudit.cli.config import Config
from shiftaudit.errors import InputError

if TYPE_CHECKING:
    from shiftaudit.gate_rules import Rules
    from shiftaudit.records.gate import Baseline, GateResult

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
        float | None, typer.Option("--stage-margin", help="Largest accepted rise of any stage's equivariance error.")
    ] = None,
    alpha: Annotated[float, typer.Option("--alpha", help="Largest chance of failing an acceptable candidate.")] = 0.05,
    on_inconclusive: Annotated[
        str, typer.Option("--on-inconclusive", help="warn or pass: exit 0; fail: exit 3.")
    ] = "warn",
    format: Annotated[str, typer.Option("--format", "-f", help="table, json, markdown, junit or github.")] = "table",
    output: Annotated[Path | None, typer.Option("--output-file", "-o", help="Write the result here instead.")] = None,
) -> None:
    """Fail when CANDIDATE is surely less shift-invariant (or less accurate) than the baseline, and never by noise."""
    from shiftaudit.baseline import read_baseline
    from shiftaudit.files import check_writable
    from shiftaudit.gate import judge
    from shiftaudit.render.gate_formats import FORMATS

    if format not in FORMATS:
        raise InputError(f"--format got {format!r}; expected {', '.join(FORMATS)}")
    if output is not None:
        check_writable(output)
    rules = _rules(context.obj, margin or (), floor or (), stage_limit or (), stage_margin)
    _refuse_same_file(candidate, baseline)
    judged_against = read_baseline(baseline)
    result = judge(
        _candidate(candidate, images or ()),
        judged_against,
        rules,
        alpha=alpha,
        on_inconclusive=on_inconclusive,
    )
    _write(result, format, output)
    raise typer.Exit(result.exit_code)


def _refuse_same_file(candidate: str, baseline: Path) -> None:
    if Path(candidate).exists() and baseline.exists() and Path(candidate).samefile(baseline):
        raise InputError(
            f"candidate and baseline are the same file, {baseline}",
            hint="a model is never worse than itself; give the report of the candidate",
        )


def _candidate(source: str, images: Sequence[Path]) -> Baseline:
    from shiftaudit.baseline import baseline_of
    from shiftaudit.records.reading import read_report

    return baseline_of(read_report(Path(source)))


def _rules(
    config: Config, margin: Sequence[str], floor: Sequence[str], stage_limit: Sequence[str], stage_margin: float | None
) -> Rules:
    from shiftaudit.gate_rules import Rules

    tables = {name: config.tables.get(f"gate.{name}", {}) for name in ("margin", "floor", "stage_limit")}
    return Rules(
        margins=_limits("margin", tables["margin"], margin),
        floors={name: share for name, share in _limits("floor", tables["floor"], floor).items() if share is not None},
        stages={
            name: error
            for name, error in _limits("stage-limit", tables["stage_limit"], stage_limit).items()
            if error is not None
        },
        stage_margin=stage_margin,
    )


def _limits(option: str, table: Mapping[str, Any], flags: Sequence[str]) -> dict[str, float | None]:
    """The file's table with the flags' entries on top; `off` (or false) takes an entry away."""
    entries: dict[str, Any] = dict(table)
    for flag in flags:
        name, separator, text = flag.rpartition("=")
        if not separator or not name:
            raise InputError(f"--{option} got {flag!r}; expected NAME=NUMBER")
        entries[name] = text
    return {name: _number(option, name, value) for name, value in entries.items()}


def _number(option: str, name: str, value: Any) -> float | None:
    if value is False or value == "off":
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{option} of {name} is {value!r}; expected a number, or off") from None


def _write(result: GateResult, form: str, output: Path | None) -> None:
    from shiftaudit.files import write_text_atomically
    from shiftaudit.render.gate_formats import render_gate
    from shiftaudit.render.gate_github import append_step_summary
    from shiftaudit.render.terminal import Terminal, detect

    text = render_gate(result, form, detect(sys.stdout) if output is None else Terminal())
    if output is None:
        sys.stdout.write(text)
    else:
        write_text_atomically(output, text)
    if form == "github":
        append_step_summary(result, os.environ)
