"""The gate as a project uses it: a git repository with a committed baseline, and models that are scored on real images.

The images are cut from the photographs of the bundled sample; the models are its networks, really trained. `retrained.pt` is its
anti-aliased one trained once more, on the same crops from another start, with what `scripts/make_sample.py` has:

    pixels, classes = training_crops(CROPS, np.random.default_rng(0))
    Path("retrained.pt").write_bytes(torchscript_bytes(train(True, pixels, classes, STEPS, seed=1)))
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_run import in_process, installed

from shiftaudit import sample

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
make_sample = pytest.importorskip("make_sample")

RETRAINED = Path(__file__).parent / "retrained.pt"
IMAGES_A_CLASS = 50
QUICK = ["--workers", "0", "-q"]


def run(*arguments, cwd, code=0, env=None, start=in_process):
    done = start(*arguments, cwd=cwd, **(env or {}))
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


def git(*arguments, cwd):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(["git", *who, *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository with 500 images, the anti-aliased network and its committed baseline."""
    root = tmp_path_factory.mktemp("repository")
    rng = np.random.default_rng(3)
    for name in make_sample.CLASSES:
        folder = root / "images" / name
        folder.mkdir(parents=True)
        photograph = make_sample.photograph(name)
        for index in range(IMAGES_A_CLASS):
            x, y = (int(rng.integers(0, side - make_sample.CELL)) for side in photograph.size)
            box = (x, y, x + make_sample.CELL, y + make_sample.CELL)
            photograph.crop(box).save(folder / f"{index}.jpg", quality=92)
    (root / "model.pt").write_bytes(sample.antialiased_model_path().read_bytes())
    git("init", "-q", cwd=root)
    run("score", "model.pt", "images", "--no-stages", "-o", "report.json", *QUICK, cwd=root, start=installed)
    run("baseline", "save", "report.json", cwd=root)
    git("add", "baseline.json", cwd=root)
    git("commit", "-q", "-m", "baseline", cwd=root)
    return root


def test_the_same_model_is_green_and_a_baseline_made_again_is_the_same_file(repository):
    stdout, _ = run("gate", "model.pt", "images", "--save-report", "again.json", *QUICK, cwd=repository)
    assert stdout.startswith("PASS")
    run("baseline", "save", "again.json", "--force", cwd=repository)
    assert git("status", "--porcelain", "baseline.json", cwd=repository) == ""


def test_a_really_worse_model_is_red(repository):
    stdout, _ = run("gate", sample.model_path(), "images", "-f", "json", *QUICK, cwd=repository, code=1)
    failed = {verdict["name"] for verdict in json.loads(stdout)["verdicts"] if verdict["outcome"] == "fail"}
    assert {"circular.consistency", "crop.consistency"} <= failed


def test_the_same_model_trained_again_with_another_seed_is_green(repository):
    stdout, _ = run("gate", RETRAINED, "images", "-f", "json", *QUICK, cwd=repository)
    result = json.loads(stdout)
    assert result["outcome"] == "pass"
    assert all(verdict["estimate"] != 0 for verdict in result["verdicts"])


def test_a_changed_folder_of_images_is_no_verdict(repository):
    extra = repository / "images" / "cat" / "more.png"
    make_sample.photograph("cat").crop((0, 0, 96, 96)).save(extra)
    try:
        _, stderr = run("gate", "model.pt", "images", *QUICK, cwd=repository, code=3)
    finally:
        extra.unlink()
    assert "has 1 that the baseline does not know" in stderr


def test_what_cannot_be_loaded_is_an_input_error_and_not_a_red_gate(repository):
    (repository / "broken.pt").write_bytes(b"no model")
    run("gate", "broken.pt", "images", *QUICK, cwd=repository, code=2)
    run("gate", "model.pt", "no-such-folder", *QUICK, cwd=repository, code=2)
    _, stderr = run("gate", "model.pt", *QUICK, cwd=repository, code=2)
    assert "MODEL followed by IMAGES" in stderr
    run("gate", "report.json", "--save-report", "x.json", cwd=repository, code=2)


def test_a_missing_baseline_is_found_out_before_anything_is_scored(repository):
    _, stderr = run("gate", "model.pt", "images", "-b", "none.json", *QUICK, cwd=repository, code=3, env={"CI": "true"})
    assert "does not exist" in stderr
