"""Reports from their text: line by line where that is surely the same, and as any JSON otherwise."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_builder import make_report

from shiftaudit.errors import InputError, NoVerdictError, ShiftAuditError
from shiftaudit.records import reading
from shiftaudit.records.codec import dumps
from shiftaudit.records.json_files import parse_json
from shiftaudit.records.reading import as_report, read_report, report_by_lines
from shiftaudit.records.report import AuditReport

REPORT = make_report(6, flips=0.5)
TEXT = dumps(REPORT).encode()
READ = as_report(parse_json(TEXT, "it"), "it")


def slowly(text: bytes) -> AuditReport | None:
    try:
        return as_report(parse_json(text, "it"), "it")
    except ShiftAuditError:
        return None


def test_a_saved_report_is_read_line_by_line_and_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert report_by_lines(TEXT, "it") == READ
    REPORT.save(tmp_path / "a.json")
    assert (tmp_path / "a.json").read_bytes() == TEXT
    REPORT.save(tmp_path / "a.json.gz")
    assert read_report(tmp_path / "a.json.gz") == READ
    longest: list[int] = []
    monkeypatch.setattr(reading, "parse_json", lambda text, what: longest.append(len(text)) or parse_json(text, what))
    assert read_report(tmp_path / "a.json") == READ
    assert max(longest) < TEXT.index(b'"per_image"') + 200, "only what stands around the images"


def test_a_report_without_images_is_read(tmp_path: Path) -> None:
    replace(REPORT, per_image=()).save(tmp_path / "a.json")
    assert read_report(tmp_path / "a.json").per_image == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"near_tie":false', b'"near_tie": false'),
        (b'"probability":0.9', b'"probability":9e-1'),
        (b"},\n  {", b"}, {"),
        (b"},\n  {", b"} ,\n  {"),
        (b"\n ]", b"\n\n ]"),
        (b'"class0', b'"\\u0063lass0'),
    ],
)
def test_lines_that_were_written_otherwise_are_read_as_any_json(old: bytes, new: bytes, tmp_path: Path) -> None:
    text = TEXT.replace(old, new)
    assert text != TEXT
    assert report_by_lines(text, "it") is None
    (tmp_path / "a.json").write_bytes(text)
    assert read_report(tmp_path / "a.json") == READ


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"near_tie":false', b'"near_tie":false,"near_tie":false', "stands twice"),
        (b'"near_tie":false', b'"near_tie":false,"more":1', "per_image.0.: 'more' is unknown"),
        (b'"near_tie":false', b'"near_tie":0', "per_image.0..near_tie: expected true or false"),
        (b"}\n ]", b"},\n  \n ]", "not readable JSON"),
        (b"}\n ]", b'}\n ],\n "per_image": []', "stands twice"),
        (b'{\n "schema_version"', b'{\n "more": 1,\n "schema_version"', "'more' is unknown"),
        (b'\n "per_image": [', b'\n "more": {\n "per_image": [', "not readable JSON"),
    ],
)
def test_what_no_report_holds_is_refused_as_in_any_json(old: bytes, new: bytes, words: str, tmp_path: Path) -> None:
    assert TEXT.count(old)
    (tmp_path / "a.json").write_bytes(TEXT.replace(old, new, 1))
    with pytest.raises(InputError, match=words):
        read_report(tmp_path / "a.json")


@pytest.mark.parametrize("column", ["shifts", "predictions", "probabilities", "js_divergence", "variation"])
def test_views_with_an_entry_too_few_are_refused(column: str, tmp_path: Path) -> None:
    data = json.loads(TEXT)
    data["per_image"][1]["views"]["crop"][column].pop()
    row = TEXT.splitlines()[TEXT.splitlines().index(b' "per_image": [') + 2]
    line = json.dumps(data["per_image"][1], separators=(",", ":")).encode()
    for text in (json.dumps(data).encode(), TEXT.replace(row, b"  " + line + b",")):
        (tmp_path / "a.json").write_bytes(text)
        with pytest.raises(
            InputError, match=r"per_image\[1\].views\['crop'\]: expected one entry a view in every list"
        ):
            read_report(tmp_path / "a.json")


def test_another_version_is_told_before_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "record_of_line", lambda *_: pytest.fail("a row was read"))
    (tmp_path / "a.json").write_bytes(TEXT.replace(b'"schema_version": 2', b'"schema_version": 1'))
    with pytest.raises(NoVerdictError, match="older"):
        read_report(tmp_path / "a.json")


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_read_by_lines_is_what_any_json_would_give(seed: int) -> None:
    chance = np.random.default_rng(seed)
    signs = [
        b'"',
        b"\n",
        b" ",
        b",",
        b":",
        b"{",
        b"}",
        b"[",
        b"]",
        b"0",
        b"e",
        b"-",
        b"\\",
        b"\xff",
        b"per_image",
        b"\n ]",
    ]
    rows = range(TEXT.index(b'"per_image"') - 20, len(TEXT))
    by_lines = 0
    for _ in range(150):
        at, length = int(chance.choice(rows)), int(chance.integers(0, 4))
        text = TEXT[:at] + signs[chance.integers(len(signs))] + TEXT[at + length :]
        report = report_by_lines(text, "it")
        if report is not None:
            by_lines += 1
            assert report == slowly(text)
    assert by_lines
