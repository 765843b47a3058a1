"""What all commands have in common: help pages, variables by the names that are typed, checked outputs, errors on GitHub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from shiftaudit.cli.guard import check_outputs
from shiftaudit.cli.help import command_help, group_help, long_name, options, write_page
from shiftaudit.errors import ShiftAuditError

HELP_ALL = "--help-all"
_Function = TypeVar("_Function", bound=Callable[..., Any])


def _help_args(ctx: Any, args: list[str]) -> list[str]:
    """`--help-all` is `--help` with a note that all options are wanted."""
    if HELP_ALL in args:
        ctx.meta[HELP_ALL] = True
    return ["--help" if one == HELP_ALL else one for one in args]


class Command(TyperCommand):
    """A command whose options are also `SHIFTAUDIT_<COMMAND>_<OPTION>` in the environment."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if ctx.auto_envvar_prefix is not None:
            for option in options(self):
                # By the name that is typed, whatever the Python parameter is called.
                option.envvar = f"{ctx.auto_envvar_prefix}_{long_name(option).replace('-', '_').upper()}"
                option.allow_from_autoenv = False
        return super().parse_args(ctx, _help_args(ctx, args))

    def invoke(self, ctx: Any) -> Any:
        try:
            check_outputs(ctx)
            return super().invoke(ctx)
        except ShiftAuditError as error:
            if ctx.params.get("format") == "github":
                _annotate(error)
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:
        write_page(formatter, lambda width: command_help(self, ctx, width, whole=HELP_ALL in ctx.meta))


class Group(TyperGroup):
    """A group of commands, listed by what they are for."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = args[: next((place for place, one in enumerate(args) if one in self.commands), len(args))]
        return super().parse_args(ctx, [*_help_args(ctx, own), *args[len(own) :]])

    def format_help(self, ctx: Any, formatter: Any) -> None:
        write_page(formatter, lambda width: group_help(self, ctx, width))


class App(typer.Typer):
    def __init__(self, **options: Any) -> None:
        super().__init__(cls=Group, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[_Function], _Function]:
        return super().command(name, cls=Command, **options)


def _annotate(error: ShiftAuditError) -> None:
    """Show on GitHub why there is no result, where only the exit code of the step would be seen."""
    import os

    from shiftaudit.cli import stdout
    from shiftaudit.cli.step_summary import append_step_summary
    from shiftaudit.render.gate import github

    stdout.write(github.render_error(error), utf8=True)
    append_step_summary(github.error_summary(error), os.environ)
