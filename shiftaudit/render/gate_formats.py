"""A gate's result in any of its formats."""

from __future__ import annotations

from shiftaudit.records import codec
from shiftaudit.records.gate import GateResult
from shiftaudit.render import gate_github, gate_junit, gate_markdown, gate_table
from shiftaudit.render.terminal import Terminal

FORMATS = ("table", "json", "markdown", "junit", "github")


def render_gate(result: GateResult, form: str, terminal: Terminal | None = None) -> str:
    """The result as text in one of FORMATS, ending in a newline. `terminal` limits the table only."""
    if form == "table":
        return gate_table.render(result, terminal)
    if form == "json":
        return codec.dumps(result)
    if form == "markdown":
        return gate_markdown.render(result)
    return gate_junit.render(result) if form == "junit" else gate_github.render(result)
