"""Reports in all forms, from Python and from the command line alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_run import installed
from report_builder import fake_report, make_report

import shiftaudit
from shiftaudit import reports


@pytest.mark.parametrize("format", reports.REPORT_FORMATS)
def test_a_report_has_every_form(format: str) -> None:
    text = shiftaudit.format_report(fake_report(4), format)
    assert text.endswith("\n")
    assert "resnet50" in text or format == "heatmap"


def test_comparisons_and_gates_have_forms_too() -> None:
    report = make_report(40)
    comparison, result = shiftaudit.compare(report, report), shiftaudit.judge(report, report)
    assert '"n_shared": 40' in shiftaudit.format_report(comparison, "json")
    assert "testsuite" in shiftaudit.format_report(result, "junit")
    with pytest.raises(shiftaudit.InputError, match="format got 'junit'; expected table, json or markdown"):
        shiftaudit.format_report(comparison, "junit")


@pytest.mark.parametrize("suffix", [".json", ".html", ".md", ".txt"])
def test_python_and_the_command_line_write_the_same_files(tmp_path: Path, suffix: str) -> None:
    shiftaudit.save_report(fake_report(6), tmp_path / "report.json")
    read = shiftaudit.load_report(tmp_path / "report.json")
    shiftaudit.save_report(read, tmp_path / f"python{suffix}")
    done = installed("report", "report.json", "-o", f"shell{suffix}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"shell{suffix}").read_bytes() == (tmp_path / f"python{suffix}").read_bytes()


def test_a_file_whose_kind_cannot_be_told_is_refused(tmp_path: Path) -> None:
    report = make_report(10)
    for name in ("report", "report.xlsx"):
        with pytest.raises(shiftaudit.InputError, match=r"end its name in \.json"):
            shiftaudit.save_report(report, tmp_path / name)
    with pytest.raises(shiftaudit.InputError, match="two reports cannot be written"):
        shiftaudit.save_report(report, tmp_path / "report.json", other=report)
    assert not list(tmp_path.iterdir())
