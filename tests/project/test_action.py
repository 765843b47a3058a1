"""The composite action and the pre-commit hook: inputs are text and never code, and the exit code comes through."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from report_builder import make_report

from shiftaudit.records import codec

ROOT = Path(__file__).parents[2]
yaml = pytest.importorskip("yaml")


def step(name):
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    return next(step for step in action["runs"]["steps"] if step["name"] == name), action


def test_inputs_reach_the_scripts_through_the_environment_only():
    _, action = step("Gate")
    assert action["runs"]["using"] == "composite"
    for one in action["runs"]["steps"]:
        assert "${{" not in one["run"]
        assert all(name in one["env"].values() or name.startswith("${{ inputs.") for name in one["env"].values())
    for used in ("model", "images", "baseline", "on-inconclusive", "args"):
        assert used in action["inputs"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(("seed", "flips", "code"), [(2, 0.1, 0), (2, 0.5, 1), (None, 0.1, 3)])
def test_the_gates_script_passes_odd_names_on_and_keeps_the_exit_code(tmp_path, seed, flips, code):
    (tmp_path / "base line.json").write_text(codec.dumps(make_report(100)))
    odd = "$(touch hacked) `touch hacked`; é.json"
    candidate = make_report(100, seed=seed, flips=flips) if seed else make_report(90)
    (tmp_path / odd).write_text(codec.dumps(candidate))
    env = {key: value for key, value in os.environ.items() if not key.startswith(("SHIFTAUDIT", "INPUT_"))}
    inputs = {
        "INPUT_MODEL": odd,
        "INPUT_IMAGES": "",
        "INPUT_BASELINE": "base line.json",
        "INPUT_ON_INCONCLUSIVE": "warn",
        "INPUT_ARGS": "--margin=consistency=0.06\n\n--floor=accuracy=0.1\n",
        "INPUT_PYTHON": sys.executable,
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }
    script = step("Gate")[0]["run"]
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=tmp_path, env={**env, **inputs, "PYTHONUTF8": "1"}, capture_output=True, check=False, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert (tmp_path / "output").read_text() == f"exit-code={code}\n"
    assert not (tmp_path / "hacked").exists()
    if code != 3:
        assert "≤ 6.0" in (tmp_path / "summary").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("install", "arguments"),
    [
        ("this-action", ["-m", "pip", "install", "/an action"]),
        (
            "shiftaudit[html] >= 1\n\n$(touch hacked)\n",
            ["-m", "pip", "install", "shiftaudit[html] >= 1", "$(touch hacked)"],
        ),
    ],
)
def test_the_installing_script_passes_on_one_argument_a_line(tmp_path, install, arguments):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nfor argument in "$@"; do echo "$argument"; done\n')
    python.chmod(0o755)
    env = {**os.environ, "INPUT_INSTALL": install, "INPUT_PYTHON": str(python), "GITHUB_ACTION_PATH": "/an action"}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step("Install shiftaudit")[0]["run"]],
        cwd=tmp_path, env=env, capture_output=True, check=True, encoding="utf-8",
    )  # fmt: skip
    assert done.stdout.splitlines() == arguments
    assert not (tmp_path / "hacked").exists()


def test_the_hook_runs_the_gate():
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert hook["entry"] == "shiftaudit gate"
    assert hook["pass_filenames"] is False
