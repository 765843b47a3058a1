"""`shiftaudit.toml`, or `[tool.shiftaudit]` of pyproject.toml: defaults for every command's options.

A table named like a command holds its options (`[score]`, `[gate]`, `[baseline.save]`), by their long names with
hyphens or underscores. A key outside any table is for every command that has this option. Flags and `SHIFTAUDIT_*`
variables win.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shiftaudit.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = "shiftaudit.toml"


@dataclass
class Config:
    """What a file sets: click's `default_map`, and the tables that are merged with flags key by key."""

    path: Path | None = None
    defaults: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By `command.option`."""


def find_file(folder: Path) -> Path | None:
    """The nearest shiftaudit.toml, or pyproject.toml with a [tool.shiftaudit], in the folder or above it."""
    for place in (folder, *folder.parents):
        if (place / FILE).is_file():
            return place / FILE
        if (place / "pyproject.toml").is_file() and "shiftaudit" in _read(place / "pyproject.toml").get("tool", {}):
            return place / "pyproject.toml"
    return None


def load(root: Any, path: Path) -> Config:
    """The configuration in `path` for the commands of `root`, the click group of the whole program.

    Raises:
        InputError: the file cannot be read, is not TOML, or holds a key that no command has.
    """
    data = _read(path)
    if path.name == "pyproject.toml":
        data = data.get("tool", {}).get("shiftaudit", {})
        if not isinstance(data, dict):
            raise InputError(f"{path}: tool.shiftaudit is no table")
    config = Config(path)
    shared = {key: value for key, value in data.items() if _key(key) not in _subcommands(root)}
    _check_shared(root, shared, path)
    config.defaults = _group(root, data, shared, (), config)
    return config


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error


def _key(name: str) -> str:
    return name.replace("-", "_")


def _subcommands(group: Any) -> dict[str, Any]:
    return {_key(name): command for name, command in getattr(group, "commands", {}).items()}


def _options(command: Any) -> dict[str, Any]:
    """Options by long name with underscores; `--no-x` is not one of them: write `x = false`."""
    return {
        _key(name[2:]): parameter
        for parameter in command.params
        if parameter.param_type_name == "option"
        for name in parameter.opts
        if name.startswith("--") and name != "--help"
    }


def _all_options(command: Any) -> set[str]:
    children = _subcommands(command)
    return set().union(*map(_all_options, children.values())) if children else set(_options(command))


def _check_shared(root: Any, shared: Mapping[str, Any], path: Path) -> None:
    known = _all_options(root)
    for key in shared:
        if _key(key) not in known:
            raise _unknown(path, key, {*known, *_subcommands(root)})


def _group(
    group: Any, data: Mapping[str, Any], shared: Mapping[str, Any], trail: tuple[str, ...], config: Config
) -> dict[str, Any]:
    commands = _subcommands(group)
    named = {_key(key): value for key, value in data.items()}
    if trail:
        for key in data:
            if _key(key) not in commands:
                raise _unknown(config.path, ".".join((*trail, key)), commands)
    defaults = {}
    for name, command in commands.items():
        values = named.get(name, {})
        if not isinstance(values, dict):
            raise InputError(f"{config.path}: {'.'.join((*trail, name))} is {values!r}; expected a table")
        inner = (*trail, name)
        make = _group if _subcommands(command) else _command
        # Click looks a command's defaults up by its name as it is typed.
        defaults[command.name] = make(command, values, shared, inner, config)
    return defaults


def _command(
    command: Any, data: Mapping[str, Any], shared: Mapping[str, Any], trail: tuple[str, ...], config: Config
) -> dict[str, Any]:
    options = _options(command)
    known = {key: options[_key(key)] for key in shared if _key(key) in options}
    defaults = {parameter.name: _as_typed(parameter, shared[key]) for key, parameter in known.items()}
    for key, value in data.items():
        name = ".".join((*trail, key))
        if _key(key) not in options:
            raise _unknown(config.path, name, options)
        parameter = options[_key(key)]
        if isinstance(value, dict):
            # What is given as NAME=VALUE several times may be a table, which goes below the flags, key by key.
            if "=" not in (parameter.metavar or ""):
                raise InputError(f"{config.path}: {name} is a table; expected one value")
            config.tables[".".join((*trail, _key(key)))] = value
        else:
            defaults[parameter.name] = _as_typed(parameter, value)
    return defaults


def _as_typed(parameter: Any, value: Any) -> Any:
    """A value as the command line has it: `mean = [0.5, 0.4]` is `--mean 0.5,0.4`. What may be repeated takes the list itself."""
    if parameter.multiple:
        return [value] if isinstance(value, str) else value
    return ",".join(map(str, value)) if isinstance(value, list) else value


def _unknown(path: Path | None, key: str, known: Iterable[str]) -> InputError:
    names = sorted(known)
    close = difflib.get_close_matches(_key(key).split(".")[-1], names, n=3, cutoff=0.5)
    shown = close or names
    words = "did you mean " + " or ".join(shown) + "?" if close else "known are " + ", ".join(shown)
    return InputError(f"{path}: unknown key {key!r}", hint=words.replace("_", "-"))
