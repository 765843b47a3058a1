"""Flags made of option records: a command's parameter that is a record stands for a flag of each of the record's options.

    def show(model: Model, settings: Annotated[Settings, only("max_shift", "device")]) -> None: ...

has `--max-shift` and `--device`, and is called with a `Settings`. An option of the same name in two records of a command is
one flag that fills both; it is described by the first.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import wraps
from keyword import iskeyword
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from shiftaudit.errors import InputError
from shiftaudit.records.options import Option, number_or_off, options_of
from shiftaudit.records.plain import without_none

_CONTEXT = "_context"


@dataclass(frozen=True)
class Choice:
    """Which options of a record a command has, and what it says otherwise about them."""

    names: Collection[str] | None = None
    without: Collection[str] = ()
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        return name not in self.without and (self.names is None or name in self.names)


def only(*names: str, **changes: Mapping[str, Any]) -> Choice:
    """These options of a record alone; see `but` for `changes`."""
    return Choice(names, changes=changes)


def without(*names: str, **changes: Mapping[str, Any]) -> Choice:
    """All options of a record but these; see `but` for `changes`."""
    return Choice(without=names, changes=changes)


def but(**changes: Mapping[str, Any]) -> Choice:
    """All options of a record, some described otherwise: `but(stem={"default": True, "help": "…"})`."""
    return Choice(changes=changes)


@dataclass(frozen=True)
class _Flag:
    """One option of one record as a flag of a command."""

    field: str
    described: Option
    kind: Any
    """The field's type, without None."""
    default: Any

    @property
    def name(self) -> str:
        """Of the command's parameter, and the key in a configuration file; a word of Python's own gets an underscore."""
        name = self.flags[0].strip("-").partition("/")[0].replace("-", "_")
        return f"{name}_" if iskeyword(name) else name

    @property
    def flags(self) -> tuple[str, ...]:
        """As they are typed; a switch that is on by default needs a name to turn it off."""
        names = self.described.names(self.field)
        if self.kind is bool and self.default is True and "/" not in names[0]:
            return (f"{names[0]}/--no-{names[0].removeprefix('--')}", *names[1:])
        return names

    @property
    def typed(self) -> tuple[Any, Any]:
        """Type and default of the command's parameter."""
        if _is_pairs(self.kind):
            return list[str] | None, None
        if self.described.parse is not None:
            return str | None, None
        if get_origin(self.kind) is tuple:
            item: Any = types.GenericAlias(list, get_args(self.kind)[0])
            return (item, ...) if self.default is MISSING else (item | None, None)
        return (self.kind, self.default) if self.default is not None else (self.kind | None, None)

    def parameter(self) -> inspect.Parameter:
        """For Typer."""
        one, (kind, default) = self.described, self.typed
        shown: dict[str, Any] = {"help": one.help, "metavar": one.metavar, "rich_help_panel": one.group}
        info = typer.Argument(**shown) if one.argument else typer.Option(*self.flags, **shown)
        default = inspect.Parameter.empty if default is ... or default is MISSING else default
        return inspect.Parameter(
            self.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info]
        )

    def value(self, given: Any, table: Mapping[str, Any]) -> Any:
        """What the record's field gets for what was typed."""
        if _is_pairs(self.kind):
            return _pairs(self.flags[0], table, given or (), keep_off=type(None) in get_args(get_args(self.kind)[1]))
        if given is None:
            return self.default
        if self.described.parse is not None:
            return _parsed(self.flags[0], given, self.described.parse)
        return tuple(given) if isinstance(given, list) else given


def takes(command: Callable[..., None]) -> Callable[..., None]:
    """The command as Typer takes it: flags in place of the records among its parameters, which are made when it runs.

    Raises (when it runs):
        ShiftAuditError: a value cannot be read, or is refused by its record.
    """
    hints = get_type_hints(command, include_extras=True)
    records: dict[str, tuple[type, list[_Flag]]] = {}
    parameters = {_CONTEXT: inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)}
    for name, parameter in inspect.signature(command).parameters.items():
        record, choice = _record(hints[name])
        if record is None:
            parameters[name] = parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
            continue
        records[name] = record, _flags(record, choice)
        for flag in records[name][1]:
            parameters.setdefault(flag.name, flag.parameter())

    @wraps(command)
    def run(**given: Any) -> None:
        context = given.pop(_CONTEXT)
        made = {name: _made(record, flags, given, context) for name, (record, flags) in records.items()}
        named = {flag.name for _, flags in records.values() for flag in flags}
        command(**{name: value for name, value in given.items() if name not in named}, **made)

    run.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    run.__annotations__ = {}
    return run


def _record(hint: Any) -> tuple[type | None, Choice]:
    kind, choice = (hint.__origin__, hint.__metadata__[0]) if get_origin(hint) is Annotated else (hint, Choice())
    is_record = is_dataclass(kind) and isinstance(kind, type) and isinstance(choice, Choice)
    return (kind, choice) if is_record else (None, Choice())


def _flags(record: type, choice: Choice) -> list[_Flag]:
    kinds = get_type_hints(record)
    defaults = {one.name: one.default for one in fields(record)}
    flags = []
    for name, described in options_of(record):
        if choice.has(name) and not described.hidden:
            changes = dict(choice.changes.get(name, {}))
            default = changes.pop("default", defaults[name])
            flags.append(_Flag(name, replace(described, **changes), without_none(kinds[name]), default))
    return flags


def _is_pairs(kind: Any) -> bool:
    return isinstance(origin := get_origin(kind), type) and issubclass(origin, Mapping)


def _made(record: type, flags: Sequence[_Flag], given: Mapping[str, Any], context: typer.Context) -> Any:
    trail = ".".join(context.command_path.split()[1:])
    tables = {} if context.obj is None else context.obj.tables
    return record(
        **{flag.field: flag.value(given[flag.name], tables.get(f"{trail}.{flag.name}", {})) for flag in flags}
    )


def _parsed(flag: str, text: Any, parse: Callable[[Any], Any]) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise InputError(f"{flag} got {text!r}; expected {error}") from error


def _pairs(flag: str, table: Mapping[str, Any], given: Sequence[str], *, keep_off: bool) -> dict[str, float | None]:
    """The configuration's table with the flags' entries on top; `off` (or false) takes an entry away, or is kept as None."""
    entries: dict[str, Any] = dict(table)
    for text in given:
        name, separator, value = text.rpartition("=")
        if not separator or not name:
            raise InputError(f"{flag} got {text!r}; expected NAME=NUMBER")
        entries[name] = value
    numbers = {name: _parsed(f"{flag} of {name}", value, number_or_off) for name, value in entries.items()}
    return {name: number for name, number in numbers.items() if keep_off or number is not None}
