"""Help pages: grouped, within the terminal, with examples that the program itself accepts."""

from __future__ import annotations

import re
import shlex
from functools import partial
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from shiftaudit.cli.examples import COMMAND_GROUPS, EXAMPLES, RARE
from shiftaudit.cli.help import command_help, group_help
from shiftaudit.cli.main import app, register_all

register_all()
ROOT = typer.main.get_command(app)


def leaves(group: Any, path: str = "") -> dict[str, Any]:
    found = {}
    for name, command in group.commands.items():
        inner = f"{path} {name}".strip()
        found |= leaves(command, inner) if hasattr(command, "commands") else {inner: command}
    return found


COMMANDS = leaves(ROOT)


def page(name: str, width: int, *, whole: bool = False) -> str:
    """The page as the program writes it, without building the whole program again for each."""
    command, make = (COMMANDS[name], partial(command_help, whole=whole)) if name in COMMANDS else (ROOT, group_help)
    root = ROOT.context_class(ROOT, info_name="shiftaudit")
    if name == "baseline":
        command = ROOT.commands[name]  # type: ignore[attr-defined]
    words = name.split()
    context = command.context_class(command, info_name=" ".join(words), parent=root) if words else root
    return make(command, context, width)


@pytest.mark.parametrize("name", ["", "baseline", *COMMANDS])
@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_page_fits_and_is_without_noise(name: str, width: int) -> None:
    text = page(name, width)
    examples = text.partition("Examples:")[2].splitlines()
    assert all(len(line) <= max(width, 80 if line in examples else 0) for line in text.splitlines())
    assert not re.search(r"env var|list\[|<str>|\x1b", text)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_argument_stands_on_its_page_with_words(name: str) -> None:
    text = page(name, 100, whole=True)
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "option":
            assert all(re.search(rf"(^|[ ,]){re.escape(option)}\b", text, re.M) for option in parameter.opts)
        assert parameter.help, f"{name} {parameter.name} has no help"


def test_options_of_one_kind_stand_together() -> None:
    headings = re.findall(r"^(\w+):$", page("score", 80), re.M)
    assert headings == ["Arguments", "Options", "Model", "Images", "Views", "Running", "Examples"]
    assert "--batch-size N " in page("score", 80, whole=True)
    assert "--html PATH" in page("score", 80)
    assert "--tree " in page("stages", 80)


def test_the_first_page_names_every_command_once_by_what_it_is_for() -> None:
    text = page("", 80)
    listed = re.findall(r"^  ([a-z]+) {2,}\S", text, re.M)
    assert sorted(listed) == sorted(ROOT.commands)  # type: ignore[attr-defined]
    assert [title for title, _ in COMMAND_GROUPS] == re.findall(r"^([A-Z][A-Za-z ]+):$", text, re.M)[
        : len(COMMAND_GROUPS)
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_that_it_accepts(name: str) -> None:
    lines = [line for line in EXAMPLES[name] if not line.startswith("#")]
    assert any(line.startswith(f"shiftaudit {name}") for line in lines)
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "shiftaudit"
        command = COMMANDS[words[0]] if words[0] in COMMANDS else COMMANDS[" ".join(words[:2])]
        rest = words[len(command.name.split()) :] if words[0] in COMMANDS else words[2:]
        command.make_context(command.name, rest, resilient_parsing=False).close()
        assert len(line) <= 78


def test_colour_marks_the_headings_and_changes_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    environment = {"COLUMNS": "80", "FORCE_COLOR": "1"}
    coloured = CliRunner().invoke(app, ["stages", "--help"], prog_name="shiftaudit", env=environment, color=True).stdout
    assert "\x1b[1mOptions:\x1b[0m" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == page("stages", 80)


@pytest.mark.parametrize("name", COMMANDS)
def test_variables_are_named_as_the_options_are_typed(name: str) -> None:
    """`SHIFTAUDIT_SHOW_OUTPUT_FILE` is `show --output-file`, whatever the Python parameter is called."""
    command = COMMANDS[name]
    prefix = "SHIFTAUDIT_" + name.upper().replace(" ", "_")
    context = command.make_context(name, ["--help"], resilient_parsing=True, auto_envvar_prefix=prefix)
    for option in context.command.params:
        if option.param_type_name == "option":
            long = max(option.opts, key=len).lstrip("-").replace("-", "_").upper()
            assert option.envvar == f"{prefix}_{long}"


@pytest.mark.parametrize("name", COMMANDS)
def test_rare_options_stand_on_the_long_page_alone(name: str) -> None:
    own = {option for one in COMMANDS[name].params for option in one.opts}
    short = page(name, 100)
    assert not any(re.search(rf"(^|[ ,]){option}(?![\w-])", short, re.M) for option in RARE & own)
    assert ("--help-all" in short) is bool(RARE & own)


def test_every_rare_option_is_one_and_the_long_page_is_printed() -> None:
    assert {option for command in COMMANDS.values() for one in command.params for option in one.opts} >= RARE
    printed = CliRunner().invoke(app, ["tune", "--help-all"], prog_name="shiftaudit", env={"COLUMNS": "80"})
    assert printed.exit_code == 0
    assert "--ridge" not in printed.stdout
    assert "--train-size" in printed.stdout
    assert CliRunner().invoke(app, ["--help-all"], prog_name="shiftaudit").exit_code == 0
