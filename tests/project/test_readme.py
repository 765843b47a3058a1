"""The README stays true: its commands exist, and the session it shows is what the program prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import shiftaudit
from shiftaudit import sample
from shiftaudit.cli.main import COMMANDS
from shiftaudit.records.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_session_shows_the_sample_s_real_consistency_and_accuracy() -> None:
    report = shiftaudit.score(sample.model_path(), sample.images_path(), Settings(stages=False, workers=0))
    shown = [float(number) for number in re.findall(r"same answer for ([\d.]+) % of pairs", README)]
    values = [report.protocols[name].metrics["consistency"].value for name in ("circular", "crop")]
    # Another machine may answer one near-tie differently: a view of one of 80 images.
    assert shown == [pytest.approx(100 * (value or 0), abs=0.3) for value in values]
    [accuracy] = re.findall(r"^accuracy +([\d.]+) %", README, re.M)
    assert float(accuracy) == pytest.approx(100 * (report.protocols["crop"].metrics["accuracy"].value or 0), abs=1.3)


def test_every_command_and_option_it_names_exists() -> None:
    from typer.main import get_command

    from shiftaudit.cli.main import app, register_all

    register_all()
    known = get_command(app).commands  # type: ignore[attr-defined]
    fenced = "\n".join(re.findall(r"^```\w*\n(.*?)^```", README, re.M | re.DOTALL))
    lines = re.findall(r"^shiftaudit ([^#\n]+)", fenced, re.M)
    assert len(lines) >= 8
    for line in lines:
        name, *words = line.split("#")[0].split("&&")[0].split()
        assert name in known, line
        options = {option for parameter in known[name].params for option in parameter.opts}
        if known[name].name != "baseline":
            assert {word.split("=")[0] for word in words if word.startswith("-")} <= options, line
    assert "score" in COMMANDS


def test_links_lead_somewhere() -> None:
    """All are absolute, since package indexes show the README, too."""
    targets = re.findall(r"\]\(([^)#]+)", README)
    own = re.compile(
        r"https://(?:github\.com/shiftaudit/shiftaudit/blob|raw\.githubusercontent\.com/shiftaudit/shiftaudit)/main/"
    )
    assert all(target.startswith("https://") for target in targets)
    inside = [own.sub("", target) for target in targets if own.match(target)]
    assert len(inside) >= 10
    assert all((ROOT / target).is_file() for target in inside)


def test_the_gate_runs_the_readme_s_own_commands() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    commands = re.findall(r"^pip install .+$", README, re.M)
    assert len(commands) == 2
    for command in commands:
        assert command in script
