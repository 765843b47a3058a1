"""Many models side by side, on the terminal, as CSV and as a page."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from cli_run import in_process
from report_builder import make_report

import shiftaudit
from shiftaudit.records.leaderboard import Entry, entry_of, ranked
from shiftaudit.render.html.leaderboard import HEIGHT, WIDTH, scatter

REPORTS = [
    make_report(60, flips=flips, wrong=flips / 2, source=f"{name}<i>.pt") for flips, name in ((0.4, "a"), (0.1, "b"))
]
BOARD = ranked([*map(entry_of, REPORTS), Entry("gone.pt", failure="no such file")])


def test_the_most_consistent_is_first_and_failures_are_last() -> None:
    assert [entry.model for entry in BOARD.entries] == ["b<i>.pt", "a<i>.pt", "gone.pt"]
    text = shiftaudit.format_report(BOARD, terminal=shiftaudit.Terminal(width=80))
    assert max(map(len, text.splitlines())) <= 80
    assert text.index("b<i>") < text.index("a<i>") < text.index("failed: gone.pt: no such file")


def test_csv_has_every_value_with_its_interval() -> None:
    rows = list(csv.DictReader(io.StringIO(shiftaudit.format_report(BOARD, "csv"))))
    consistency = REPORTS[1].protocols["crop"].metrics["consistency"]
    assert float(rows[0]["crop.consistency"]) == pytest.approx(consistency.value, abs=1e-6)
    assert float(rows[0]["crop.consistency_low"]) == pytest.approx(consistency.ci_low, abs=1e-6)
    assert rows[2]["failure"] == "no such file"
    assert rows[2]["crop.consistency"] == ""


def test_the_page_is_complete_without_its_script_and_runs_no_other() -> None:
    page = shiftaudit.format_report(BOARD, "html")
    assert page.count("<script>") == 1
    assert "script-src 'sha256-" in page
    assert "b&lt;i&gt;" in page
    assert "<i>" not in page
    assert page.count("<circle") == 2 * 2  # two models, two protocols
    assert "89.20 %" in page, "the published figures"


def test_points_lie_inside_the_drawing() -> None:
    drawn = scatter(BOARD, "crop.consistency")
    assert drawn is not None
    assert all(0 <= point.x <= WIDTH and 0 <= point.y <= HEIGHT for point in drawn.points)
    better, worse = drawn.points
    assert better.x > worse.x
    assert better.y < worse.y
    assert scatter(ranked([entry_of(REPORTS[0])]), "crop.consistency") is None


def test_unequal_conditions_are_said() -> None:
    others = make_report(30, settings=shiftaudit.Settings(seed=1))
    assert [text.split(", ")[0] for text in shiftaudit.leaderboard([REPORTS[0], others]).warnings] == [
        "the models were scored on different images",
        "the models were scored under different protocols",
    ]


def test_the_report_command_shows_several(tmp_path: Path) -> None:
    for report, name in zip(REPORTS, ("a", "b"), strict=True):
        report.save(tmp_path / f"{name}.json")
    read = shiftaudit.leaderboard([shiftaudit.load_report(tmp_path / f"{name}.json") for name in "ab"])
    done = in_process("report", "a.json", "b.json", "--format", "csv", cwd=tmp_path)
    assert done.stdout == shiftaudit.format_report(read, "csv"), done.stderr
    assert in_process("report", "a.json", "b.json", "b.json", "-o", "all.html", cwd=tmp_path).returncode == 0
    assert "3 models on shifted images" in (tmp_path / "all.html").read_text(encoding="utf-8")
    refused = in_process("report", "a.json", "b.json", "-o", "all.pdf", cwd=tmp_path)
    assert refused.returncode == 2
    assert "several models cannot be written to all.pdf; end its name in .csv" in refused.stderr
