"""Records as JSON text, in one pass: what stands on one line is known where it is written."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from json.encoder import encode_basestring
from typing import Any, Final

from shiftaudit.records.collector import uncollected
from shiftaudit.records.plain import LEAVES, field_names, plain, round6

_LEAF, _EMPTY_LIST, _EMPTY_DICT, _ROW, _LIST, _DICT = range(6)
"""What a text is of; a row is a list of leaves."""
_WORDS: Final = {None: "null", True: "true", False: "false"}
_SEQUENCES: Final = {list, tuple}
_OF_ROWS: Final = "\n  "


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
    return _text(record, "\n", sort_keys)[0] + "\n"


def parts(record: Any) -> Iterator[str]:
    """The text that `dumps` makes of a record, piece by piece: that of many images need never be held as a whole."""
    begin = "{\n "
    kind: Any = type(record)
    for name in field_names(kind) or ():
        yield f'{begin}"{name}": '
        begin = ",\n "
        value = getattr(record, name)
        first: Any = type(value[0]) if type(value) is tuple and value else None
        if field_names(first) is None:
            yield _text(value, "\n ", False)[0]
            continue
        for place, row in enumerate(value):
            yield f"{',' if place else '['}\n  {_text(row, _OF_ROWS, False)[0]}"
        yield "\n ]"
    yield "\n}\n"


def _text(value: Any, indent: str, sort_keys: bool) -> tuple[str, int]:
    """The text of a value and what it is of; `indent` is the line break before the container's closing bracket."""
    kind = type(value)
    if kind in LEAVES or kind is float:
        return _leaf(value), _LEAF
    if kind in _SEQUENCES:
        return _list(value, indent, sort_keys) if value else ("[]", _EMPTY_LIST)
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
    # Nearly all that a report of many images holds is rows of numbers and of shifts: Python writes a list as JSON does.
    kinds = set(map(type, value))
    if kinds == {int}:
        return repr(list(value)), _ROW
    if kinds == {float}:
        return _floats(tuple(value)), _ROW
    if kinds <= _SEQUENCES and set(map(type, chain.from_iterable(value))) == {int}:
        return repr(list(map(list, value))), _LIST
    pad = indent + " "
    found = [_text(item, pad, sort_keys) for item in value]
    texts, of = [text for text, _ in found], {kind for _, kind in found}
    kind = _ROW if of == {_LEAF} else _LIST
    if of <= {_LEAF, _EMPTY_LIST, _ROW}:
        return f"[{', '.join(texts)}]", kind
    return f"[{pad}{f',{pad}'.join(texts)}{indent}]", kind


def _floats(row: tuple[float, ...]) -> str:
    """All numbers of a row in one step; what Python would not write as `round6` has it is written anew."""
    text = _format(len(row)) % row
    if text.count(".") < len(row) or "e+" in text or "e-3" in text:
        text = ", ".join([part if _is_as_written(part) else _leaf(float(part)) for part in text.split(", ")])
    return f"[{text}]"


def _is_as_written(part: str) -> bool:
    return "." in part and "e" not in part


@lru_cache(maxsize=256)
def _format(n: int) -> str:
    return ", ".join(["%.6g"] * n)
