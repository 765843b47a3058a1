"""Records as JSON text, in one pass: what stands on one line is known where it is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from json.encoder import encode_basestring
from typing import Any, Final

import msgspec

from shiftaudit.records.collector import uncollected
from shiftaudit.records.plain import LEAVES, field_names, plain, round6

ROWS: Final = "per_image"
"""The field whose records stand one a line, without blanks: nearly all that a report of many images holds."""

_LEAF, _EMPTY_LIST, _EMPTY_DICT, _ROW, _LIST, _DICT = range(6)
"""What a text is of; a row is a list of leaves."""
_WORDS: Final = {None: "null", True: "true", False: "false"}


@uncollected()
def dumps(record: Any, *, sort_keys: bool = False) -> str:
    """The record as JSON text, ending in a newline; a container of plain values, or of short lists of them, stays on one line.

    >>> print(dumps({"shifts": [[1, 2], [3, 4]], "metric": {"value": 0.5, "inner": {"n": 1}}}), end="")
    {
     "shifts": [[1, 2], [3, 4]],
     "metric": {
      "value": 0.5,
      "inner": {"n": 1}
     }
    }
    """
    kind: Any = type(record)
    if ROWS in (field_names(kind) or ()) and not sort_keys:
        return "".join(parts(record))
    return _text(record, "\n", sort_keys)[0] + "\n"


def parts(report: Any) -> Iterator[str]:
    """The text of a record with `ROWS`, piece by piece: that of many images need never be held as a whole.

    >>> from dataclasses import make_dataclass
    >>> row = make_dataclass("Row", ["id", "shares"])
    >>> print("".join(parts(make_dataclass("Report", ["n", "per_image"])(2, (row("a", (0.5,)), row("b", ()))))), end="")
    {
     "n": 2,
     "per_image": [
      {"id":"a","shares":[0.5]},
      {"id":"b","shares":[]}
     ]
    }
    """
    begin = "{\n "
    kind: Any = type(report)
    for name in field_names(kind) or ():
        yield f'{begin}"{name}": '
        begin = ",\n "
        value = getattr(report, name)
        if name != ROWS or not value:
            yield _text(value, "\n ", False)[0]
            continue
        for place, row in enumerate(value):
            yield f"{',' if place else '['}\n  {_line(row)}"
        yield "\n ]"
    yield "\n}\n"


def _line(row: Any) -> str:
    values = plain(row)
    try:
        return msgspec.json.encode(values).decode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(values, separators=(",", ":"))


def _text(value: Any, indent: str, sort_keys: bool) -> tuple[str, int]:
    """The text of a value and what it is of; `indent` is the line break before the container's closing bracket."""
    kind = type(value)
    if kind in LEAVES or kind is float:
        return _leaf(value), _LEAF
    if kind is list or kind is tuple:
        return _list(value, indent, sort_keys)
    if kind is dict:
        pairs = [(f"{encode_basestring(key)}: ", item) for key, item in _named(value, sort_keys).items()]
        return _dict(pairs, indent, sort_keys)
    names = field_names(kind)  # type: ignore[arg-type]  # classes are hashable, whatever their instances
    if names is None:
        return _text(plain(value), indent, sort_keys)
    ordered = sorted(names) if sort_keys else names
    return _dict([(f'"{name}": ', getattr(value, name)) for name in ordered], indent, sort_keys)


def _leaf(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is float:
        rounded = round6(value)
        return "null" if rounded is None else repr(rounded)
    return repr(value) if kind is int else _WORDS[value]


def _named(value: dict[Any, Any], sort_keys: bool) -> dict[str, Any]:
    named = {str(key): item for key, item in value.items()}
    return {key: named[key] for key in sorted(named)} if sort_keys else named


def _dict(pairs: list[tuple[str, Any]], indent: str, sort_keys: bool) -> tuple[str, int]:
    if not pairs:
        return "{}", _EMPTY_DICT
    pad = indent + " "
    texts, of = [], 0
    for key, item in pairs:
        text, kind = _text(item, pad, sort_keys)
        texts.append(key + text)
        of = max(of, kind)
    if of <= _EMPTY_DICT:  # an empty container is as good as a plain value
        return f"{{{', '.join(texts)}}}", _DICT
    return f"{{{pad}{f',{pad}'.join(texts)}{indent}}}", _DICT


def _list(value: list[Any] | tuple[Any, ...], indent: str, sort_keys: bool) -> tuple[str, int]:
    if not value:
        return "[]", _EMPTY_LIST
    pad = indent + " "
    found = [_text(item, pad, sort_keys) for item in value]
    texts, of = [text for text, _ in found], {kind for _, kind in found}
    kind = _ROW if of == {_LEAF} else _LIST
    if of <= {_LEAF, _EMPTY_LIST, _ROW}:
        return f"[{', '.join(texts)}]", kind
    return f"[{pad}{f',{pad}'.join(texts)}{indent}]", kind
