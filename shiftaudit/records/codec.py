"""JSON to records, strictly typed; and back, as `shiftaudit.records.plain` and `shiftaudit.records.layout` write it."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Callable
from dataclasses import MISSING, asdict, fields, is_dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from shiftaudit.errors import InputError
from shiftaudit.records.digits import MAX_INTEGER
from shiftaudit.records.json_files import parse_json
from shiftaudit.records.layout import dumps
from shiftaudit.records.metric import Shift
from shiftaudit.records.plain import plain, round6, without_none

__all__ = ["dumps", "from_line", "line_of", "plain", "record_of_line", "round6", "structure"]

T = TypeVar("T")

_EXPECTED: Final = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    tuple: "a list",
    dict: "an object",
}

_hints = lru_cache(maxsize=256)(get_type_hints)


def structure(data: Any, cls: type[T], what: str) -> T:
    """Plain data as a record. Nothing is converted: a text is no number, and 1 is not true.

    Raises:
        InputError: a key is missing, unknown or of the wrong type; `what` names the file in the message.
    """
    record: T | None = _converted(data, cls)
    if record is None:
        raise InputError(f"{what} is not a valid {cls.__name__}: {_where(data, cls, 'the file')}")
    return record


def line_of(record: Any) -> bytes:
    """The record as one line of JSON at full precision, ending in a newline.

    Raises:
        ValueError: it would not be read again as it is, for it holds a number that is not finite, or a list.
    """
    try:
        line = _encode(record, enc_hook=_builtin) + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair
        return f"{json.dumps(asdict(record), allow_nan=False, separators=(',', ':'))}\n".encode()
    kind: Any = type(record)
    try:
        if _decoder(kind).decode(line) == record:
            return line
    except msgspec.ValidationError:  # null, where a number that is not finite was
        pass
    raise ValueError(f"cannot write {_shown(record)}")


def from_line(line: bytes, cls: type[T], what: str) -> T:
    """The record of a line. Raises InputError as `structure` and `parse_json` do; `what` names the line."""
    record = record_of_line(line.removesuffix(b"\n"), cls)
    return structure(parse_json(line, what), cls, what) if record is None else record


def record_of_line(line: bytes, cls: type[T]) -> T | None:
    """The record, if the line without its end is byte for byte what msgspec writes for it; None if it is not.

    Such a line holds nothing but the record: no key that is unknown, and none twice. Lines with whole numbers of 19 digits, of
    which some are too large, are left to `structure`.
    """
    kind: Any = cls
    try:
        record: T = _decoder(kind).decode(line)
        return record if _encode(record) == line and _LARGE not in line.translate(_DIGITS) else None
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
        return None


_encode = msgspec.json.encode
_LARGE: Final = b"," + b"0" * len(str(MAX_INTEGER))
_DIGITS: Final = bytes.maketrans(b"123456789:[-", b"000000000,,,")
"""Makes every digit a 0, and a comma of what stands before a whole number."""


@lru_cache(maxsize=16)
def _decoder(kind: Any) -> Any:
    return msgspec.json.Decoder(kind)


def _builtin(value: Any) -> Any:
    """Numbers and texts of other libraries, which are subclasses of Python's."""
    return next(kind(value) for kind in (float, int, str) if isinstance(value, kind))


def _converted(data: Any, kind: Any) -> Any:
    """The data as this type, None where it is not of it."""
    try:
        made = msgspec.convert(data, kind)
        return made if data is None or _strict(kind)(data) else None
    except (msgspec.ValidationError, RecursionError, OverflowError, UnicodeEncodeError):
        return None


def _is_record(kind: Any) -> bool:
    return is_dataclass(kind)


def _always(_: Any) -> bool:
    return True


@lru_cache(maxsize=256)
def _strict(kind: Any) -> Callable[[Any], bool]:
    """What msgspec lets pass, for data that has this type otherwise: keys that a record does not have, and numbers that are too
    large. Nearly all that a report holds is rows of numbers, so a row is looked at in one step."""
    kind = without_none(kind)
    if _is_record(kind):
        return _strict_record(kind)
    arguments = get_args(kind)
    if get_origin(kind) is dict:
        value = _strict(arguments[1])
        return (
            _always if value is _always else lambda data: all(value(item) for item in data.values() if item is not None)
        )
    if get_origin(kind) is tuple:
        return _ROWS.get(kind) or _strict_row(arguments)
    return _NUMBERS.get(kind, _always)


def _strict_record(kind: Any) -> Callable[[Any], bool]:
    names = frozenset(_hints(kind))
    parts = [(name, check) for name, hint in _hints(kind).items() if (check := _strict(hint)) is not _always]

    def is_strict(data: Any) -> bool:
        # A loop, for there are as many records as images: a generator would take twice as long.
        for name, check in parts:
            value = data.get(name)
            if value is not None and not check(value):
                return False
        return names.issuperset(data)

    return is_strict


def _strict_row(kinds: tuple[Any, ...]) -> Callable[[Any], bool]:
    each = _strict(kinds[0]) if kinds[-1] is Ellipsis else None
    if each is not None:
        return _always if each is _always else lambda row: all(item is None or each(item) for item in row)
    checks = [_strict(kind) for kind in kinds]
    return lambda row: all(item is None or check(item) for item, check in zip(row, checks, strict=True))


def _are_bounded(row: Any) -> bool:
    return not row or (min(row) > -MAX_INTEGER and max(row) < MAX_INTEGER)


_NUMBERS: Final[dict[Any, Callable[[Any], bool]]] = {
    int: lambda number: abs(number) < MAX_INTEGER,
    float: math.isfinite,
}
_ROWS: Final[dict[Any, Callable[[Any], bool]]] = {
    tuple[int, ...]: _are_bounded,
    # A sum is finite only if all its numbers are.
    tuple[float, ...]: lambda row: math.isfinite(sum(row)) or all(map(math.isfinite, row)),
    tuple[Shift, ...]: lambda rows: _are_bounded(list(chain.from_iterable(rows))),
}


def _fits(data: Any, kind: Any) -> bool:
    return _converted(data, kind) is not None or (data is None and kind is not without_none(kind))


def _where(data: Any, kind: Any, path: str) -> str:
    """The first place that does not fit its type, and why: each level is tried part by part."""
    kind = without_none(kind)
    for name, value, inner in _parts(data, kind):
        if not _fits(value, inner):
            return _where(value, inner, f"{path}{name}")
    if _is_record(kind) and isinstance(data, dict):
        needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
        missing = [name for name in needed if name not in data]
        return (
            f"{path}: {f'{missing[0]} is missing' if missing else _unknown(data, _hints(kind)) or _refusal(data, kind)}"
        )
    arguments = get_args(kind)
    if get_origin(kind) is dict and isinstance(data, dict):
        return f"{path}: {_unknown(data, [key for key in data if _fits(key, arguments[0])])}"
    if get_origin(kind) is Literal:
        return f"{path}: expected one of {', '.join(map(str, arguments))}; got {_shown(data)}"
    expected = _EXPECTED.get(dict if _is_record(kind) else get_origin(kind) or kind, str(kind))
    if get_origin(kind) is tuple and isinstance(data, list):
        expected = f"{expected} of {len(arguments)}"
    elif kind is int and type(data) is int:
        expected = f"{expected} below 2^63"
    return f"{path}: expected {expected}, got {_shown(data)}"


def _unknown(data: dict[Any, Any], known: Any) -> str | None:
    return next((f"{_shown(key)} is unknown" for key in data if key not in known), None)


def _refusal(data: dict[Any, Any], record: Any) -> str:
    """What a record says itself of fields that do not go together."""
    try:
        msgspec.convert(data, record)
    except msgspec.ValidationError as error:
        return str(error.__cause__ or error)
    return "cannot be read"


def _parts(data: Any, kind: Any) -> list[tuple[str, Any, Any]]:
    """The parts of a value that has any, with their place and the type each should have."""
    origin, arguments = get_origin(kind), get_args(kind)
    if _is_record(kind) and isinstance(data, dict):
        return [(f".{name}", data[name], hint) for name, hint in _hints(kind).items() if name in data]
    if origin is dict and isinstance(data, dict):
        return [(f"[{_shown(key)}]", value, arguments[1]) for key, value in data.items()]
    if origin is tuple and isinstance(data, list):
        inner = [arguments[0]] * len(data) if arguments[-1] is Ellipsis else arguments
        return [(f"[{place}]", value, hint) for place, (value, hint) in enumerate(zip(data, inner, strict=False))]
    return []


def _shown(value: Any) -> str:
    """Short, and safe for what is large or deep."""
    text = reprlib.repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
