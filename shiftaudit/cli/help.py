"""Help pages: options in groups, without noise, and examples of every command at its end."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable
from typing import Any

from shiftaudit.cli.examples import COMMAND_GROUPS, EXAMPLES, RARE

_WIDEST, _INDENT, _NAMES_UP_TO = 100, 2, 26
# Groups of options in this order; others stand between, in the order of the command.
_FIRST, _LAST = ("Options", "Model", "Images", "Views"), ("Running",)
_PLACEHOLDERS = {"int": "N", "float": "X", "path": "PATH", "file": "PATH"}

Rows = list[tuple[str, str]]


def command_help(command: Any, ctx: Any, width: int, *, whole: bool = False) -> str:
    """The page of one command as text of at most `width` columns, where names leave room; `whole` has the rare options too."""
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    usage = ["Usage:", ctx.command_path, "[OPTIONS]", *(_argument(one) for one in arguments)]
    blocks = [" ".join(usage), _paragraphs(command.help, width)]
    if arguments:
        blocks.append(_section("Arguments", [(_argument(one), one.help or "") for one in arguments], width))
    blocks += [_section(name, rows, width) for name, rows in _option_groups(command, whole=whole)]
    name = ctx.command_path.partition(" ")[2]
    if name in EXAMPLES:
        blocks.append("Examples:\n" + "\n".join(" " * _INDENT + line for line in EXAMPLES[name]))
    return "\n\n".join(blocks) + "\n"


def group_help(group: Any, ctx: Any, width: int) -> str:
    """The page of a group: its commands, by what they are for."""
    blocks = [f"Usage: {ctx.command_path} [OPTIONS] COMMAND [ARGS]...", _paragraphs(group.help, width)]
    left = dict(group.commands)
    for title, names in COMMAND_GROUPS if ctx.parent is None else ():
        blocks.append(_commands(title, {name: left.pop(name) for name in names if name in left}, width))
    if left:
        blocks.append(_commands("Commands", left, width))
    blocks += [_section(name, rows, width) for name, rows in _option_groups(group, whole=True)]
    if ctx.parent is None:
        words = (
            "`shiftaudit COMMAND --help` shows a command's options and examples. Options also come from variables such as "
            "SHIFTAUDIT_SCORE_DEVICE, and from shiftaudit.toml or [tool.shiftaudit] in pyproject.toml. "
            "Exit codes: 0 pass, 1 the gate failed, 2 usage or input, 3 no verdict, 4 internal error."
        )
        blocks.append(textwrap.fill(words, width, break_on_hyphens=False))
    return "\n\n".join(blocks) + "\n"


def write_page(formatter: Any, page: Callable[[int], str]) -> None:
    """The page at the terminal's width, its headings bold where there is colour."""
    from shiftaudit.render.terminal import detect

    terminal = detect(sys.stdout)
    text = page(min(terminal.width, _WIDEST))
    if terminal.colour:
        text = re.sub(r"^(\S[^\n:]*:)(?= |$)", "\x1b[1m\\1\x1b[0m", text, flags=re.M)
    formatter.write(text)


def _paragraphs(text: str | None, width: int) -> str:
    space = " " * _INDENT
    parts = [" ".join(part.split()) for part in (text or "").split("\n\n")]
    fill = textwrap.TextWrapper(
        width, initial_indent=space, subsequent_indent=space, break_long_words=False, break_on_hyphens=False
    )
    return "\n\n".join(fill.fill(part) for part in parts)


def _section(title: str, rows: Rows, width: int) -> str:
    """Names on the left, what they mean on the right; a long name has a line of its own."""
    column = min(_NAMES_UP_TO, max(len(name) for name, _ in rows)) + 2 * _INDENT
    fill = textwrap.TextWrapper(max(20, width - column), break_long_words=False, break_on_hyphens=False)
    lines = [f"{title}:"]
    for name, meaning in rows:
        first, *rest = fill.wrap(meaning) or [""]
        start = " " * _INDENT + name
        if len(start) + _INDENT > column:
            lines.append(start)
            start = ""
        lines += [f"{start:<{column}}{first}".rstrip(), *(" " * column + line for line in rest)]
    return "\n".join(lines)


def _commands(title: str, commands: dict[str, Any], width: int) -> str:
    return _section(title, [(name, _first_sentence(command.help)) for name, command in commands.items()], width)


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split()).split(". ")[0].rstrip(".")


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or str(parameter.name).upper()).strip("[]").removesuffix("...")
    name += "..." if parameter.nargs == -1 else ""
    return name if parameter.required else f"[{name}]"


def options(command: Any) -> list[Any]:
    """The options of a command that are shown."""
    return [one for one in command.params if one.param_type_name == "option" and not getattr(one, "hidden", False)]


def long_name(option: Any) -> str:
    """Without its hyphens in front."""
    return str(max((name.lstrip("-") for name in option.opts), key=len))


def _option_groups(command: Any, *, whole: bool) -> list[tuple[str, Rows]]:
    groups: dict[str, Rows] = {"Options": []}
    rare = [one for one in options(command) if RARE.intersection(one.opts)]
    for option in options(command):
        if whole or option not in rare:
            groups.setdefault(getattr(option, "rich_help_panel", None) or "Options", []).append(_option(option))
    groups["Options"].append(("-h, --help", "Show this page."))
    if rare and not whole:
        count = "one more option" if len(rare) == 1 else f"{len(rare)} more options"
        groups["Options"].append(("--help-all", f"Show {count} that few need."))
    order = [*_FIRST, *(name for name in groups if name not in (*_FIRST, *_LAST)), *_LAST]
    return [(name, groups[name]) for name in order if name in groups]


def _option(option: Any) -> tuple[str, str]:
    names = sorted(option.opts, key=len)
    name = ", ".join(names) + "".join(f" / {other}" for other in option.secondary_opts)
    if not option.is_flag:
        name += f" {option.metavar or _placeholder(option)}"
    notes = _notes(option)
    return name, " ".join(text for text in ((option.help or "").strip(), f"[{notes}]" if notes else "") if text)


def _placeholder(option: Any) -> str:
    # Typer describes types in its own way since it no longer builds on click.
    own = getattr(option, "bare_type", None)
    kind = str(own() if own is not None else option.type.name).lower()
    return next((shown for start, shown in _PLACEHOLDERS.items() if start in kind), "TEXT")


def _notes(option: Any) -> str:
    default = option.default
    if option.required:
        return "required"
    if isinstance(default, bool):
        # A switch with two names says which one is on; one with a single name is off.
        return f"default: {(option.opts if default else option.secondary_opts)[0]}" if option.secondary_opts else ""
    is_shown = isinstance(default, (str, int, float)) or (hasattr(default, "parts"))
    return f"default: {default}" if is_shown and str(default) else ""
