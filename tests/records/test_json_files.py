"""JSON from elsewhere: hostile files are one sentence, whatever they hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shiftaudit.errors import InputError
from shiftaudit.records import json_files
from shiftaudit.records.json_files import MAX_DEPTH, MAX_INTEGER, parse_json, read_json


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" * 500 + "]" * 500, "nested too deeply"),
        ('{"a":' * 60 + "1" + "}" * 60, "nested too deeply"),
        ('{"seed": ' + "9" * 5000 + "}", "an integer of 5000 digits"),
        (f"[{MAX_INTEGER}]", "an integer of 20 digits"),
        ("[1e999]", "larger than any number"),
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


def test_what_a_report_holds_is_read() -> None:
    value = {"a": [[[1, -2.5e3, None, True]]], "largest": MAX_INTEGER - 1, "least": 1 - MAX_INTEGER}
    assert parse_json(json.dumps(value), "a.json") == value
    deep = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse_json(deep, "a.json") == json.loads(deep)


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
