"""Options described once: a field of an option record is a flag, a key of the configuration and an argument in Python.

The description stands in the field's metadata; `shiftaudit.cli.takes` makes flags of it. No Typer here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from shiftaudit.errors import InputError
from shiftaudit.records.digits import MAX_INTEGER

_KEY = "option"
_LIMITS: dict[str, Callable[[Any, float], bool]] = {
    "least": operator.ge, "above": operator.gt, "most": operator.le, "below": operator.lt,
}  # fmt: skip
_LIMIT_WORDS = {"least": "at least", "above": "more than", "most": "at most", "below": "less than"}


@dataclass(frozen=True)
class Option:
    """How a field is asked for on the command line, and which values it can have."""

    help: str
    flag: str = ""
    """Its names, such as `--output-file -o`; the field's name with hyphens where it is empty."""
    metavar: str | None = None
    group: str | None = None
    """Heading of the help page that it stands under."""
    choices: tuple[str | int, ...] = ()
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    """A number has to be at least, above, at most and below these."""
    parse: Callable[[str], Any] | None = None
    """From text to the value; a `ValueError` says what was expected."""
    argument: bool = False
    """Given by its place, without a name."""
    hidden: bool = False
    """Not on the command line: its values are checked alone."""

    def names(self, field_name: str) -> tuple[str, ...]:
        """The long name first."""
        return tuple(self.flag.split()) or (f"--{field_name.replace('_', '-')}",)


def option(default: Any = MISSING, help: str = "", *, factory: Any = MISSING, **described: Any) -> Any:
    """A field of an option record; `described` are the fields of `Option`, `factory` makes a default of its own each time.

    >>> @dataclass(frozen=True)
    ... class Speed:
    ...     batch_size: int = option(8, "Views in one pass.", least=1)
    >>> [(name, one.help, one.names(name)) for name, one in options_of(Speed)]
    [('batch_size', 'Views in one pass.', ('--batch-size',))]
    """
    metadata = {_KEY: Option(help, **described)}
    return (
        field(default=default, metadata=metadata)
        if factory is MISSING
        else field(default_factory=factory, metadata=metadata)
    )


def options_of(record: Any) -> Iterator[tuple[str, Option]]:
    """The fields of a record that are options, in order."""
    return ((one.name, one.metadata[_KEY]) for one in fields(record) if _KEY in one.metadata)


class Checked:
    """A record that is never made of values which its options do not allow; None stands for a value that is not given.

    Raises:
        InputError: it names the flag, the value and what was expected.
    """

    def __post_init__(self) -> None:
        for name, described in options_of(self):
            value = getattr(self, name)
            if value is not None:
                check_value(described.names(name)[0].partition("/")[0], value, described)


def check_value(name: str, value: Any, described: Option) -> None:
    """Refuse one value; see `Checked`."""
    if described.choices and value not in described.choices:
        raise InputError(f"{name} got {value!r}; expected {in_words(described.choices)}")
    if isinstance(value, int) and abs(value) >= MAX_INTEGER:  # a report would hold it, and could not be read
        raise InputError(f"{name} got a whole number of 2^63 or more; expected less")
    limits = [
        (word, holds, limit) for word, holds in _LIMITS.items() if (limit := getattr(described, word)) is not None
    ]
    # NaN is on neither side of any number, so it is refused by each limit.
    if not all(holds(value, limit) for _, holds, limit in limits):
        expected = " and ".join(f"{_LIMIT_WORDS[word]} {limit:g}" for word, _, limit in limits)
        raise InputError(f"{name} got {value}; expected {expected}")


def in_words(choices: tuple[str | int, ...]) -> str:
    """
    >>> in_words(("table", "json", "markdown"))
    'table, json or markdown'
    """
    *others, last = map(str, choices)
    return f"{', '.join(others)} or {last}" if others else last


def number_or_off(value: Any) -> float | None:
    """A number, or None for `off`; what a configuration file holds may be a number already.

    >>> number_or_off("0.02"), number_or_off("off"), number_or_off(False)
    (0.02, None, None)
    """
    if value is False or str(value).lower() in ("off", "false"):
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError):
        raise ValueError("a number, or off") from None
