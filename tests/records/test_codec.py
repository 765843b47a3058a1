"""The JSON of records: its exact layout, against the plain and slow way of writing it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, is_dataclass
from enum import IntEnum
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftaudit.errors import InputError
from shiftaudit.records import codec, layout


@dataclass(frozen=True)
class Inner:
    share: float | None
    shifts: tuple[tuple[int, int], ...]
    flag: bool = True


@dataclass(frozen=True)
class Outer:
    name: str
    views: dict[str, Inner]
    rows: tuple[Inner, ...] = ()
    kind: Literal["a", "b"] | None = None
    levels: tuple[tuple[int, ...], ...] | None = None


def slow_plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {str(key): slow_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [slow_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return codec.round6(float(value))


def slow_layout(value: Any, depth: int, sort_keys: bool) -> str:
    def is_flat(container: Any) -> bool:
        if isinstance(container, dict):
            return all(not isinstance(item, (dict, list)) or item in ([], {}) for item in container.values())
        return all(
            not isinstance(item, dict)
            and (not isinstance(item, list) or not any(isinstance(i, (dict, list)) for i in item))
            for item in container
        )

    if not isinstance(value, (dict, list)) or not value or is_flat(value):
        return json.dumps(value, sort_keys=sort_keys, allow_nan=False, ensure_ascii=False)
    pad = "\n" + " " * (depth + 1)
    if isinstance(value, dict):
        keys = sorted(value) if sort_keys else list(value)
        rows = [
            f"{json.dumps(key, ensure_ascii=False)}: {slow_layout(value[key], depth + 1, sort_keys)}" for key in keys
        ]
        return "{" + pad + ("," + pad).join(rows) + pad[:-1] + "}"
    return "[" + pad + ("," + pad).join(slow_layout(item, depth + 1, sort_keys) for item in value) + pad[:-1] + "]"


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=25,
)


@given(st.lists(st.floats() | st.integers(-9, 9).map(float), min_size=1))
def test_a_row_of_numbers_is_written_as_each_of_them_would_be(row: list[float]) -> None:
    assert codec.dumps(row) == json.dumps([codec.round6(number) for number in row]) + "\n"


@given(trees, st.booleans())
def test_any_tree_is_written_byte_for_byte_as_the_slow_way_writes_it(tree: Any, sort_keys: bool) -> None:
    assert codec.dumps(tree, sort_keys=sort_keys) == slow_layout(slow_plain(tree), 0, sort_keys) + "\n"


inners = st.builds(
    Inner,
    share=st.none() | st.floats(),
    shifts=st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), max_size=3).map(tuple),
)


@given(st.builds(Outer, name=st.text(max_size=5), views=st.dictionaries(st.text(max_size=3), inners, max_size=3)))
def test_records_are_written_byte_for_byte_as_through_asdict(record: Outer) -> None:
    assert codec.dumps(record) == slow_layout(slow_plain(record), 0, False) + "\n"


@given(
    st.builds(
        Outer, name=st.text(max_size=5), views=st.just({}), rows=st.lists(inners, min_size=1, max_size=3).map(tuple)
    )
)
def test_the_pieces_of_a_text_are_the_text(record: Outer) -> None:
    assert "".join(layout.parts(record)) == codec.dumps(record)


@dataclass(frozen=True)
class Row:
    name: str
    share: float | None
    shares: tuple[float, ...] = ()
    inner: Inner | None = None


@given(st.builds(Row, name=st.text(max_size=5), share=st.none() | st.floats(allow_nan=False, allow_infinity=False)))
def test_a_record_is_read_from_its_line_to_the_last_bit(row: Row) -> None:
    assert codec.from_line(codec.line_of(row), Row, "row 1") == row


@pytest.mark.parametrize("broken", [Row("a", float("nan")), Row("a", 1.0, (0.5, float("inf"))), Row("a", None, [0.5])])  # type: ignore[arg-type]
def test_what_would_not_be_read_again_as_it_is_has_no_line(broken: Row) -> None:
    with pytest.raises(ValueError, match="cannot write"):
        codec.line_of(broken)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"name":"a","name":"b","share":1.0}\n', "stands twice"),
        (b'{"name":"a","share":1.0,"shares":[],"inner":null,"more":1}\n', "'more' is unknown"),
        (b'{"name":"a","share":1e999}\n', "expected a number, got inf"),
        (
            b'{"name":"a","share":null,"shares":[],"inner":{"share":null,"shifts":[[1,-%d]],"flag":true}}\n' % 2**63,
            "below 2",
        ),
        (
            b'{"name":"a","share":null,"shares":[],"inner":{"share":null,"shifts":[[1%s,0]],"flag":true}}\n'
            % (b"0" * 400),
            "below 2",
        ),
        (b'{"name":"a","share":NaN}\n', "NaN is no number"),
        (b'{"name":"a"}\n', "share is missing"),
        (b'{"name":"\xff","share":1.0}\n', "not readable JSON"),
        (b'{"name":"a","share":1.0', "not readable JSON"),
    ],
)
def test_a_line_is_read_as_strictly_as_a_file(line: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        codec.from_line(line, Row, "row 1")


def test_a_line_that_is_laid_out_otherwise_is_read_too() -> None:
    assert codec.from_line(b'{ "share": 1, "name": "\\u00e9" }\n', Row, "row 1") == Row("é", 1.0)


def test_numbers_of_numpy_are_rounded_like_any_other() -> None:
    assert codec.plain({"a": np.float64(0.123456789), "b": np.float32(0.5), "c": np.float64("nan")}) == {
        "a": 0.123457,
        "b": 0.5,
        "c": None,
    }


def test_keys_become_text_and_what_is_no_number_is_an_error() -> None:
    assert codec.plain({1: 2.0}) == {"1": 2.0}
    with pytest.raises((TypeError, ValueError)):
        codec.plain({"a": object()})


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"name": 3}, r"the file.name: expected a text, got 3"),
        ({"rows": [{"share": "0.5", "shifts": []}]}, r"rows\[0\].share: expected a number, got '0.5'"),
        ({"rows": [{"share": True, "shifts": []}]}, r"rows\[0\].share: expected a number, got True"),
        ({"views": {"a": {"share": None, "shifts": [[1, 2], [1]]}}}, r"views\['a'\].shifts\[1\]: expected a list of 2"),
        (
            {"views": {"a": {"share": None, "shifts": [[1, 2.0]]}}},
            r"shifts\[0\]\[1\]: expected a whole number, got 2.0",
        ),
        ({"rows": [{"share": None, "shifts": [], "flag": 1}]}, r"rows\[0\].flag: expected true or false, got 1"),
        ({"rows": {}}, r"the file.rows: expected a list, got \{\}"),
        ({"rows": [{"shifts": []}]}, r"rows\[0\]: share is missing"),
        ({"more": 1}, r"the file: 'more' is unknown"),
        ({"rows": [{"share": None, "shifts": [], "more": {}}]}, r"rows\[0\]: 'more' is unknown"),
        ({"views": {"a": {"share": 1, "shifts": [], 3: 4}}}, r"views\['a'\]: 3 is unknown"),
        ({"views": {3: {"share": 1, "shifts": []}}}, r"views: 3 is unknown"),
        ({"views": {"a": []}}, r"views\['a'\]: expected an object, got \[\]"),
        ({"kind": "c"}, r"the file.kind: expected one of a, b; got 'c'"),
        ({"levels": [[1], {}]}, r"the file.levels\[1\]: expected a list, got \{\}"),
    ],
)
def test_types_are_refused_and_not_converted_and_the_place_is_named(change: Any, place: str) -> None:
    with pytest.raises(InputError, match=place):
        codec.structure({"name": "n", "views": {}, "rows": [], **change}, Outer, "it")


def test_many_invalid_rows_fail_at_the_first_one() -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match=r"rows\[0\]: share is missing"):
        codec.structure({"name": "n", "views": {}, "rows": [{}] * 100_000}, Outer, "it")
    assert time.monotonic() - began < 2


class Version(str):
    """As PyTorch gives its own."""

    def __str__(self) -> str:
        return "another"


class Level(IntEnum):
    HIGH = 3


def test_subclasses_of_plain_types_are_written_as_what_they_hold() -> None:
    written = codec.dumps({"torch": Version("2.14"), "level": Level.HIGH, "share": np.float64(0.25), "n": [Level.HIGH]})
    assert json.loads(written) == {"torch": "2.14", "level": 3, "share": 0.25, "n": [3]}
