"""The record inside a model file: what is written is what is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch import nn

from shiftaudit.models.carried import Carried
from shiftaudit.records.patch import PatchRecord
from shiftaudit.records.report import Preprocessing
from shiftaudit.records.tune import Check, HoldoutScore, TuneRecord, TuneSettings
from shiftaudit.surgery.patch import PatchOptions, patch

FILE = Path("net.pt")
PREPROCESSING = Preprocessing(16, 20, (0.1, 0.2, 0.3), (0.25,), "bicubic", 3, "file")


def patched() -> PatchRecord:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1))
    return patch(network, PatchOptions(filter_size=4, skip=("0",)), input_size=16).record


def tuned() -> TuneRecord:
    score = HoldoutScore(0.9, 0.8, 0.75)
    return TuneRecord(
        TuneSettings(steps=2), "net", None, 10, 2, False, 0, 100, 2, 2, 1, "budget", score, score, score, ("0",),
        (Check(1, 0.5, 0.25, score),),
    )  # fmt: skip


@pytest.mark.parametrize(
    "carried",
    [
        Carried(),
        Carried(PREPROCESSING, ("a", "ß"), "somewhere"),
        Carried(PREPROCESSING, ("a", "b"), "somewhere", patched()),
        Carried(PREPROCESSING, None, None, patched(), tuned()),
    ],
)
def test_what_is_written_is_read_again(carried: Carried) -> None:
    assert Carried.from_json(carried.to_json(), FILE) == carried
    assert Carried.from_json(carried.to_json().encode(), FILE) == carried


@pytest.mark.parametrize("text", [None, "", b""])
def test_a_file_from_elsewhere_carries_nothing(text: str | bytes | None) -> None:
    assert Carried.from_json(text, FILE) == Carried()


def test_preprocessing_that_was_carried_is_said_to_be_the_files() -> None:
    chosen = Preprocessing(16, 20, (0.5,), (0.25,), "bicubic", 3, "options")
    read = Carried.from_json(Carried(chosen).to_json(), FILE)
    assert read.preprocessing is not None
    assert read.preprocessing.source == "file"


def test_a_file_without_tuning_says_nothing_of_it() -> None:
    assert list(json.loads(Carried().to_json())) == ["schema_version", "preprocessing", "class_names", "arch", "patch"]
