"""JSON from elsewhere: hostile files are one sentence, whatever they hold."""

from __future__ import annotations

import gzip
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest

from shiftaudit.errors import InputError
from shiftaudit.records import json_files
from shiftaudit.records.codec import structure
from shiftaudit.records.digits import MAX_INTEGER
from shiftaudit.records.json_files import parse_json, read_json


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"seed": ' + "9" * 5000 + "}", "an integer of thousands of digits"),
        ("[NaN]", "NaN is no number"),
        ('{"a": 1, "a": 2}', "the key 'a' stands twice"),
        ("{", "is not readable JSON"),
        (b'"\xff"', "is not readable JSON"),
    ],
)
def test_hostile_json_is_refused_in_one_sentence(text: str | bytes, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        parse_json(text, "a.json")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@dataclass(frozen=True)
class Record:
    seed: int
    share: float
    row: tuple[int, ...] = ()
    shares: tuple[float, ...] = ()
    shifts: tuple[tuple[int, int], ...] = ()


@pytest.mark.parametrize("field", ["seed", "share", "row", "shares", "shifts"])
@pytest.mark.parametrize(
    "value",
    [
        "[" * 500 + "]" * 500,
        '{"a":' * 60 + "1" + "}" * 60,
        "9" * 4000,
        f"[{10**400}]",
        f"[[1, -{MAX_INTEGER}]]",
        "1e999",
        "[1.0, -1e999]",
        "[1, true]",
        "[[1, 2], [3]]",
        '"1"',
    ],
)
def test_what_no_record_can_hold_is_refused_in_one_sentence_wherever_it_stands(field: str, value: str) -> None:
    numbers = {"seed": "1", "share": "0.5", field: value}
    text = "{" + ", ".join(f'"{name}": {number}' for name, number in numbers.items()) + "}"
    with pytest.raises(InputError, match=f"a.json is not a valid Record: the file.{field}") as caught:
        structure(parse_json(text, "a.json"), Record, "a.json")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_an_integer_that_numpy_could_not_hold_is_refused() -> None:
    assert np.array([MAX_INTEGER - 1, 1 - MAX_INTEGER]).dtype == np.int64
    for text in (f'{{"seed": {MAX_INTEGER}, "share": 0}}', f'{{"seed": 1, "share": 0, "row": [1, {MAX_INTEGER}]}}'):
        with pytest.raises(InputError, match="below 2"):
            structure(parse_json(text, "a.json"), Record, "a.json")


def test_what_a_report_holds_is_read() -> None:
    value = {"a": [[[1, -2.5e3, None, True]]], "largest": MAX_INTEGER - 1, "least": 1 - MAX_INTEGER}
    assert parse_json(json.dumps(value), "a.json") == value
    record = Record(MAX_INTEGER - 1, 1.0, (1 - MAX_INTEGER,), (1.7e308, 1.7e308), ((1, 2),))
    assert structure(parse_json(json.dumps(asdict(record)), "a.json"), Record, "a.json") == record


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "MAX_BYTES", 2**20)
    (tmp_path / "a.json").write_bytes(b" " * (2**20 + 1))
    with pytest.raises(InputError, match="larger than 1 MiB"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes(b"[\xff]")
    with pytest.raises(InputError, match="not UTF-8"):
        read_json(tmp_path / "a.json")
    with pytest.raises(InputError, match="does not exist"):
        read_json(tmp_path / "b.json")
    with pytest.raises(InputError, match="cannot read"):
        read_json(tmp_path / ("a" * 5000))


def test_a_compressed_file_is_read_like_any_other_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(gzip.compress(b'{"a": [1, 2]}'))
    assert read_json(path) == {"a": [1, 2]}


def test_compressed_files_are_limited_by_what_they_hold_and_damaged_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json.gz"
    whole = gzip.compress(b"[" + b" " * 10_000 + b"]")
    for damaged in (
        whole[:-9],
        whole[:20],
        whole[:12] + b"\xff\xff" + whole[14:],
        whole[:-6] + b"123456",
        whole + b"tail",
    ):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="cannot read"):
            read_json(path)
    path.write_bytes(whole)
    assert read_json(path) == []
    monkeypatch.setattr(json_files, "MAX_BYTES", 9_999)
    with pytest.raises(InputError, match="is larger than"):
        read_json(path)
