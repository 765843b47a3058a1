"""A gate's result in any of its formats."""

from __future__ import annotations

from shiftaudit.records import codec
from shiftaudit.records.gate import GateResult
from shiftaudit.render import trends
from shiftaudit.render.gate import github, junit, markdown, table
from shiftaudit.render.terminal import Terminal

FORMATS = ("table", "json", "markdown", "junit", "github", "github-benchmark")


def render_gate(result: GateResult, form: str, terminal: Terminal | None = None) -> str:
    """The result as text in one of FORMATS, ending in a newline. `terminal` limits the table only."""
    if form == "table":
        return table.render(result, terminal)
    renders = (codec.dumps, markdown.render, junit.render, github.render, trends.github_benchmark)
    return dict(zip(FORMATS[1:], renders, strict=True))[form](result)
