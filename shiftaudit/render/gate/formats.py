"""A gate's result in any of its formats."""

from __future__ import annotations

from shiftaudit.records import codec
from shiftaudit.records.gate import GateResult
from shiftaudit.render import trends
from shiftaudit.render.gate import (
    github as gate_github,
)
from shiftaudit.render.gate import (
    junit as gate_junit,
)
from shiftaudit.render.gate import (
    markdown as gate_markdown,
)
from shiftaudit.render.gate import (
    table as gate_table,
)
from shiftaudit.render.terminal import Terminal

FORMATS = ("table", "json", "markdown", "junit", "github", "github-benchmark")


def render_gate(result: GateResult, form: str, terminal: Terminal | None = None) -> str:
    """The result as text in one of FORMATS, ending in a newline. `terminal` limits the table only."""
    if form == "table":
        return gate_table.render(result, terminal)
    if form == "json":
        return codec.dumps(result)
    if form == "markdown":
        return gate_markdown.render(result)
    if form == "github-benchmark":
        return trends.github_benchmark(result)
    return gate_junit.render(result) if form == "junit" else gate_github.render(result)
