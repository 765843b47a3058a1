"""Many models on the same images: what was scored stays scored, and what fails does not stop the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cli_run import in_process
from report_builder import make_report

from shiftaudit import sample
from shiftaudit.audit.sweep import Places, sweep
from shiftaudit.errors import ModelError
from shiftaudit.images.find import find_images
from shiftaudit.models.patterns import expand
from shiftaudit.records.leaderboard import Leaderboard
from shiftaudit.records.report import AuditReport
from shiftaudit.records.settings import ModelOptions, Settings

MODELS = ("one", "two", "three", "four", "five")


class Scoring:
    """Makes reports, and stops where it is told to."""

    def __init__(self, stop_at: str | None = None) -> None:
        self.scored: list[str] = []
        self._stop_at = stop_at

    def __call__(self, model: str) -> AuditReport:
        if model == self._stop_at:
            raise KeyboardInterrupt
        self.scored.append(model)
        if model == "two":
            raise ModelError("it cannot be loaded")
        if model == "four":
            raise RuntimeError("shapes differ\nTraceback")
        return make_report(20, flips=0.1 * len(self.scored), source=model)


def run(scoring: Scoring, folder: Path) -> Leaderboard:
    return sweep(MODELS, scoring, lambda model: folder / f"{model}.json", lambda board, model, was_there: None)


def test_a_stopped_sweep_goes_on_and_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    stopped = Scoring(stop_at="five")
    with pytest.raises(KeyboardInterrupt):
        run(stopped, tmp_path)
    assert stopped.scored == ["one", "two", "three", "four"]
    again = Scoring()
    board = run(again, tmp_path)
    assert again.scored == ["two", "four", "five"], "what failed is tried again, what was scored is not"
    assert {entry.model for entry in board.entries} == set(MODELS)
    failures = {entry.model: entry.failure for entry in board.entries if entry.failure is not None}
    assert failures == {"two": "it cannot be loaded", "four": "RuntimeError: shapes differ"}
    assert [entry.failure is None for entry in board.entries] == [True] * 3 + [False] * 2


def test_a_report_is_found_again_only_if_everything_is_the_same(tmp_path: Path) -> None:
    image = tmp_path / "images" / "a.png"
    image.parent.mkdir()
    image.write_bytes(b"one")
    model = tmp_path / "model.pt"
    model.write_bytes(b"weights")

    def place(
        settings: Settings | None = None,
        options: ModelOptions | None = None,
        labels: str = "auto",
        of: str = str(model),
    ) -> Path:
        files, _ = find_images(image.parent)
        return Places(tmp_path, files, labels, settings or Settings(), options or ModelOptions())(of)

    first = place()
    assert place(replace(Settings(), workers=7, batch_size=3)) == first
    others = {place(Settings(seed=1)), place(options=ModelOptions(size=64)), place(labels="none"), place(of="timm:a/b")}
    model.write_bytes(b"other weights")
    others.add(place())
    image.write_bytes(b"another")
    others.add(place())
    image.write_bytes(b"aNother")  # as long as before
    others.add(place())
    labels_of = tmp_path / "labels.csv"
    for label in "12":
        labels_of.write_text(f"path,label\na.png,{label}\n")
        others.add(place(labels=str(labels_of)))
        others.add(place(options=ModelOptions(weights=str(labels_of))))
    hub = tmp_path / "hf"
    hub.mkdir()
    (hub / "config.json").write_text("{}")
    for weights in (b"one", b"another"):
        (hub / "model.safetensors").write_bytes(weights)
        others.add(place(of=str(hub)))
    assert len(others | {first}) == 14
    assert all(path.parent == tmp_path for path in others)


def test_patterns_name_torchvision_s_classifiers_and_timm_s() -> None:
    assert expand(["vgg1[13]", "vgg11"]) == ["vgg11", "vgg13"]
    assert all(name.startswith("timm:resnet") for name in expand(["timm:resnet1*"], weights="none"))


def test_the_command_ranks_models_and_lists_failures(tmp_path: Path) -> None:
    images = tmp_path / "images"
    for path in sorted(sample.images_path().glob("*/[0-3].jpg")):
        target = images / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    arguments = (
        "sweep", sample.model_path(), sample.antialiased_model_path(), "gone.pt", images,
        "-o", "sweep.csv", "--html", "sweep.html", "--no-stages", "--shifts", "2", "--workers", "0",
    )  # fmt: skip
    done = in_process(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("labels from") == 1
    header, *rows = (tmp_path / "sweep.csv").read_text(encoding="utf-8").splitlines()
    assert header.startswith("model,weights,n_images,accuracy,accuracy_low,accuracy_high,circular.consistency")
    assert [("antialiased" in row, "no such file" in row) for row in rows] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    assert "gone.pt" in (tmp_path / "sweep.html").read_text(encoding="utf-8")
    again = in_process(*arguments, cwd=tmp_path)
    assert again.stderr.count("was scored before") == 2
    assert again.stdout == done.stdout
    assert in_process("sweep", "only.pt", cwd=tmp_path).returncode == 2
