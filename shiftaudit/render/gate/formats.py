"""A gate's result in any of its formats."""

from __future__ import annotations

from collections.abc import Callable

from shiftaudit.records import codec
from shiftaudit.records.gate import GateResult
from shiftaudit.render import trends
from shiftaudit.render.gate import github, junit, markdown, table
from shiftaudit.render.terminal import Terminal

_RENDERS: dict[str, Callable[[GateResult], str]] = {
    "json": codec.dumps,
    "markdown": markdown.render,
    "junit": junit.render,
    "github": github.render,
    "github-benchmark": trends.github_benchmark,
}
FORMATS = ("table", *_RENDERS)


def render_gate(result: GateResult, form: str, terminal: Terminal | None = None) -> str:
    """The result as text in one of FORMATS, ending in a newline. `terminal` limits the table only."""
    return table.render(result, terminal) if form == "table" else _RENDERS[form](result)
