"""Write docs/commands.md from the command line's own help, docs/measures.md from the definitions it explains, docs/api.md.

Run from the repository's root: `python scripts/make_reference.py`. A test checks that the files are up to date. What stands in
docs/measures.md below the mark BY_HAND is kept.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer

from shiftaudit.cli.examples import COMMAND_GROUPS
from shiftaudit.cli.help import command_help
from shiftaudit.cli.main import app, register_all
from shiftaudit.metrics.definitions import Measure, Term
from shiftaudit.metrics.terms import TERMS
from shiftaudit.metrics.vocabulary import METRICS
from shiftaudit.render.explain import needs

ROOT = Path(__file__).parents[1]
BY_HAND = "<!-- from here on written by hand -->"


def commands_page() -> str:
    """Every command with its arguments and options, as Markdown."""
    register_all()
    parts = [
        "# Commands",
        "Written by `scripts/make_reference.py` from the program's own help: `shiftaudit COMMAND --help-all` prints the same.",
        "Exit codes: 0 pass; 1 the gate failed, and only that; 2 wrong usage or input; 3 no verdict (nothing to compare with, "
        "or not comparable); 4 an internal error; 130 interrupted.",
        "An option can also come from a variable, `SHIFTAUDIT_<COMMAND>_<OPTION>` (`SHIFTAUDIT_SCORE_BATCH_SIZE=8`, "
        "`SHIFTAUDIT_BASELINE_SAVE_OUTPUT_FILE=…`), or from `shiftaudit.toml` or `[tool.shiftaudit]` in `pyproject.toml`: a "
        "table per command, or a key outside the tables for every command that has the option. A flag goes before a variable, a "
        "variable before the file.",
        "Shell completion: `shiftaudit --install-completion` (bash, zsh, fish, PowerShell).",
    ]
    root = typer.main.get_command(app)
    names = _names(root)
    groups = [
        (title, [name for first in group for name in names if name.split()[0] == first])
        for title, group in COMMAND_GROUPS
    ]
    parts.append("\n".join(f"- {title}: {', '.join(map(_link, inside))}" for title, inside in groups))
    context: Any = root.context_class(root, info_name="shiftaudit")
    for name in (name for _, inside in groups for name in inside):
        command: Any = root
        for word in name.split():
            command = command.commands[word]
        text = command_help(command, command.context_class(command, info_name=name, parent=context), 100, whole=True)
        parts.append(f"## `shiftaudit {name}`\n\n```\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def _link(name: str) -> str:
    return f"[{name}](#shiftaudit-{name.replace(' ', '-')})"


def _names(command: Any, path: str = "") -> list[str]:
    """All commands below a group, as they are typed."""
    children = getattr(command, "commands", None)
    if not children:
        return [path.strip()]
    return [name for key, child in children.items() for name in _names(child, f"{path} {key}")]


def measures_page() -> str:
    """Every metric and term with its definition and source, as Markdown."""
    parts = [
        "# Measures and terms",
        "Each of these is also one `shiftaudit explain NAME` away. Metrics come with a 95 % interval, clustered by image, for "
        "each protocol; see [concepts](concepts.md) for how they belong together.",
        "## Metrics",
        *(_term(term) for term in METRICS),
        "## Terms",
        *(_term(term) for term in TERMS),
        BY_HAND,
    ]
    written = (ROOT / "docs" / "measures.md").read_text(encoding="utf-8").partition(BY_HAND)[2]
    return "\n\n".join(parts) + written


def _term(term: Term) -> str:
    title = f"### `{term.name}`" + (f": {term.label}" if term.label.replace(" ", "_") != term.name else "")
    formula = term.formula.replace("`", "'")
    facts = {
        "Definition": f"`{formula}`",
        "Unit": _unit(term),
        "Needs": _code(needs(term)),
        "Moved by": term.moved_by,
        "Source": term.source,
    }
    items = "\n".join(f"- {key}: {text}" for key, text in facts.items() if text)
    return f"{title}\n\n{term.text}\n\n{items}"


def _unit(term: Term) -> str | None:
    if not isinstance(term, Measure):
        return None
    names = {"share": "share, printed in per cent", "nats": "nats"}
    better = "higher" if term.higher_is_better else "lower"
    return f"{names.get(term.unit, term.unit)}; {better} is better"


def _code(text: str | None) -> str | None:
    """Options as code."""
    return re.sub(r"--\w+ \w+", r"`\g<0>`", text) if text else None


_API_GROUPS = (
    ("Models", ("models", "models.runner", "records.survey", "surgery.survey")),
    ("Scoring", ("audit.api", "audit.microscope", "images.file", "images.find")),
    ("Reports", ("records.report", "records.reading", "reports", "gate.compare", "records.codec", "render.terminal")),
    ("Patching", ("surgery.patch", "records.patch", "surgery.blurpool", "tune.refit", "records.refit")),
    ("Gates and test suites", ("gate.judge", "gate.baseline", "records.gate", "testing", "audit.shift_consistency")),
    ("Options", ("records.settings",)),
    ("Errors", ("errors",)),
)


def api_page() -> str:
    """All public names by what they are for; mkdocstrings puts signatures and docstrings in."""
    import shiftaudit

    parts = [
        "# Python API",
        "Every name of `shiftaudit` itself, which stays. [Python](python.md) shows how they are used together; what is not "
        "listed here is private. Shapes, units and signs are those of the [concepts](concepts.md): a shift is (dy, dx) in input "
        "pixels, positive when the content moves down or right; rates are shares in [0, 1].",
    ]
    for title, modules in _API_GROUPS:
        parts.append(f"## {title}")
        for name in (name for module in modules for name in shiftaudit._PUBLIC[module]):
            parts.append(f"::: {getattr(shiftaudit, name).__module__}.{name}")
    return "\n\n".join(parts) + "\n"


PAGES = {"commands.md": commands_page, "measures.md": measures_page, "api.md": api_page}


def main() -> None:
    for name, make in PAGES.items():
        (ROOT / "docs" / name).write_text(make(), encoding="utf-8")
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
