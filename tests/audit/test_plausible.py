"""Samples files that were edited or damaged get one sentence, and never a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_run import in_process
from networks import write_images

from shiftaudit.sample import model_path

SHARES = "a probability, or a change of one, that is not between 0 and 1"
STRIDE = "has a stride that is none at the stage"
UNLIKELY_HEADERS: list[tuple[tuple[str | int, ...], object, str]] = [
    (("protocol", "protocols"), [], "names no protocol"),
    (("protocol", "protocols", 0), "\ud800", "expected one of circular, crop"),
    (("layout", 0, "op"), "\udc80", "expected one of"),
    (("layout", 0, "stride", 0), 0.0, STRIDE),
    (("layout", 0, "stride", 1), 1e300, STRIDE),
    (("layout", 0, "input_slot"), -1, "has a negative slot"),
    (("layout", 0, "output_slot"), 1_000_000, "calibrations for 1000001 slots"),
    (("calibration", 0, "distance"), 0.0, "no distance of two images"),
    (("calibration", 0, "distance"), 1e300, "no distance of two images"),
    (("images", "n_files"), 2**62, "its run is about 4611686018427387904 images"),
]
UNLIKELY_ROWS: list[tuple[tuple[str | int, ...], object, str]] = [
    (("image", "views"), {}, "no views of the protocol circular"),
    (("image", "views", "crop", "shifts", 0, 1), 2**62, "a shift of more than"),
    (("image", "views", "circular", "variation", 0), 1.7e308, SHARES),
    (("image", "probability"), 1.7e308, SHARES),
    (("damage", "views", 0, "aliasing", "variation"), 1e300, SHARES),
    (("damage", "stages", 0, "change", "variation"), -1.0, SHARES),
    (("slot_errors", "circular"), [[0.0, 0.0]], "errors in 1 of"),
    (("slot_errors", "circular", 0), [1.7e308, 1.7e308], "no distance of two maps"),
    (("slot_errors", "crop", 0, 0), 1e300, "no distance of two maps"),
    (("slot_errors", "crop", 0, 0), -1e300, "no distance of two maps"),
]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    write_images(folder / "images", n=2)
    options = ("--shifts", "2", "--damage", "1", "--workers", "0", "-q")
    done = in_process("score", model_path(), "images", *options, "--samples", "run.jsonl", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run.jsonl"


def merged(lines: list[Any], where: Path) -> tuple[int, str]:
    (where / "forged.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    done = in_process("merge", "forged.jsonl", "-o", "report.json", cwd=where)
    assert (where / "report.json").exists() == (done.returncode == 0)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("line", "place", "value", "words"),
    [(0, *one) for one in UNLIKELY_HEADERS] + [(1, *one) for one in UNLIKELY_ROWS],
)
def test_what_cannot_have_been_measured_is_refused_in_a_sentence(
    samples: Path, tmp_path: Path, line: int, place: tuple[str | int, ...], value: object, words: str
) -> None:
    lines = [json.loads(text) for text in samples.read_text().splitlines()]
    within = lines[line]
    for key in place[:-1]:
        within = within[key]
    within[place[-1]] = value
    code, err = merged(lines, tmp_path)
    assert code == 2, err
    assert words in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert ("the first line of" if line == 0 else "line 2") in err or "its run is about" in err


def test_what_was_measured_is_taken(samples: Path, tmp_path: Path) -> None:
    assert merged([json.loads(text) for text in samples.read_text().splitlines()], tmp_path)[0] == 0
