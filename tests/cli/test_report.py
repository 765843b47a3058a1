from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from cli_run import python
from report_builder import fake_report

from shiftaudit.cli.write_report import ReportOutputs
from shiftaudit.records.codec import dumps

RUN = "import sys; from shiftaudit.cli.main import main\ntry: main()\nfinally: print('torch' in sys.modules, file=sys.stderr)"


run = partial(python, "-c", RUN)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "report.json"
    path.write_text(dumps(fake_report(12)), encoding="utf-8")
    return path


def test_a_saved_report_becomes_a_page_without_torch(saved: Path) -> None:
    page = saved.with_suffix(".html")
    done = run("report", str(saved), str(saved), "-o", str(page))
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == "False", "torch was imported"
    assert "Before and after" in page.read_text(encoding="utf-8")


def test_a_page_without_images_needs_no_folder(tmp_path: Path) -> None:
    """`merge --html` and `--no-images` have no folder to take thumbnails from."""
    page = tmp_path / "page.html"
    ReportOutputs(format="json", html=page).emit(fake_report(4))
    assert "<img" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("format", ["table", "heatmap", "markdown", "json"])
def test_a_saved_report_is_printed_again(saved: Path, format: str) -> None:
    done = run("report", str(saved), "--format", format)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "False", "torch was imported"
    if format == "json":
        assert done.stdout == saved.read_text(encoding="utf-8")
    assert "\x1b" not in done.stdout


def test_forced_colour_yields_to_no_color(saved: Path) -> None:
    assert "\x1b[" in run("report", str(saved), FORCE_COLOR="1").stdout
    assert "\x1b" not in run("report", str(saved), FORCE_COLOR="1", NO_COLOR="1").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "pdf"], "expected summary, table, heatmap, markdown, csv, json, github-benchmark or model-card"),
        (["-o", "missing/folder/page.html"], "does not exist"),
        (["OTHER", "--format", "heatmap"], "expected table, csv, html or json"),
        (["-o", "page.xlsx"], "end its name in .json"),
    ],
)
def test_wrong_usage_is_exit_2_with_a_sentence(saved: Path, arguments: list[str], words: str) -> None:
    done = run("report", str(saved), *[str(saved) if a == "OTHER" else a for a in arguments])
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_explain_knows_terms_and_corrects_others() -> None:
    assert "Definition:" in run("explain", "consistency").stdout
    assert "consistency" in run("explain").stdout
    done = run("explain", "consistancy")
    assert done.returncode == 2
    assert "did you mean consistency" in done.stderr
