from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from cli_run import python

from shiftaudit import doctor
from shiftaudit.render.checks import render
from shiftaudit.render.terminal import Terminal


@pytest.mark.parametrize("width", [80, 120])
def test_the_findings_are_the_golden_ones(golden: Callable[[str, str], None], width: int) -> None:
    rows = [
        ("python", "ok", "3.12.1 on Linux x86_64", None),
        ("torch", "ok", "2.14.1", None),
        (
            "torchvision",
            "broken",
            "0.28.0 does not fit torch 2.14.1: operator torchvision::nms does not exist",
            "pip install 'torchvision==0.29.*', which is built for torch 2.14",
        ),
        ("threads", "note", "1 for 2 usable cores", "export OMP_NUM_THREADS=2 to use them all"),
        (
            "shared memory",
            "warning",
            "64 MiB free",
            "start the container with --shm-size=1g, or score with --workers 0",
        ),
    ]
    golden(render(rows, Terminal(width)), f"doctor_{width}.txt")


def test_a_working_installation_is_not_broken() -> None:
    checks = {check.name: check for check in doctor.examine()}
    assert {"python", "torch", "torchvision", "numpy", "pillow", "threads", "layouts", "devices"} <= set(checks)
    assert not doctor.is_broken(list(checks.values()))


@pytest.mark.parametrize(
    ("torch", "vision", "wanted"),
    [
        ("2.6.0", "0.21.0", None),
        ("2.14.1+cpu", "0.29.1+cpu", None),
        ("2.14.1", "0.28.0", "torchvision==0.29.*"),
        ("2.14.1+cu130", "0.29.1+cpu", "one index"),
    ],
)
def test_a_wrong_pair_of_torch_and_torchvision_is_told_what_to_install(
    torch: str, vision: str, wanted: str | None
) -> None:
    advice = doctor.pairing_advice(torch, vision)
    assert advice is None if wanted is None else wanted in str(advice)


def test_a_torchvision_that_cannot_be_imported_is_broken_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    real_version, real_import = doctor.version, importlib.import_module

    def failing(name: str) -> Any:
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return real_import(name)

    monkeypatch.setattr(doctor, "version", lambda name: "0.28.0" if name == "torchvision" else real_version(name))
    monkeypatch.setattr(importlib, "import_module", failing)
    checks = doctor.examine()
    (vision,) = [check for check in checks if check.name == "torchvision"]
    assert vision.status == doctor.BROKEN
    assert "nms does not exist" in vision.found
    assert vision.advice is not None
    assert "pip install" in vision.advice
    assert doctor.is_broken(checks)
    text = render([(c.name, c.status, c.found, c.advice) for c in checks], Terminal(80))
    assert "1 thing is broken" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_missing_extra_is_only_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise doctor.PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", missing)
    by_name = {check.name: check for check in doctor.examine()}
    assert by_name["timm"].status == doctor.NOTE
    assert by_name["torch"].status == doctor.BROKEN


def test_the_command_prints_json_and_passes() -> None:
    done = python("-m", "shiftaudit", "doctor", "-f", "json")
    assert done.returncode == 0, done.stderr
    assert {check["status"] for check in json.loads(done.stdout)} <= {"ok", "note", "warning"}
