"""A result reaches stdout whole, or the exit code says that it did not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_run import environment, in_process, installed
from report_builder import fake_report

from shiftaudit.records.codec import dumps

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX devices and limits")
FORMATS = ("table", "heatmap", "markdown", "json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("stdout")
    (where / "a.json").write_text(dumps(fake_report(60)))
    (where / "odd.json").write_text(dumps(fake_report(4)).replace("resnet50", "caf\\u00e9 \\u2192 \\udc80"))
    return where


def shell(script: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    """Run with `$RUN` as the command."""
    run = f"{sys.executable} -m shiftaudit"
    return subprocess.run(
        ["bash", "-c", script], cwd=cwd, env=environment(RUN=run, **env), capture_output=True, check=False, timeout=120
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["report a.json -f json", "report a.json", "report --help", "--version"])
def test_a_full_disk_is_told(words: str, unbuffered: str, folder: Path) -> None:
    done = shell(f"$RUN {words} > /dev/full", folder, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ")
    assert b"No space left on device" in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_result_that_is_cut_short_is_no_success(unbuffered: str, folder: Path) -> None:
    """The disk takes the first 8 KiB of the JSON."""
    done = shell("ulimit -f 8; $RUN report a.json -f json > cut.json", folder, PYTHONUNBUFFERED=unbuffered)
    assert (folder / "cut.json").stat().st_size <= 8192
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: cannot write the result to stdout")


@pytest.mark.parametrize("words", ["report a.json -f json", "report --help", "explain"])
def test_a_reader_that_has_gone_is_no_failure(words: str, folder: Path) -> None:
    done = shell(f"$RUN {words} | true; exit ${{PIPESTATUS[0]}}", folder)
    assert done.returncode in (0, 141)
    assert done.stderr == b""


@pytest.mark.parametrize("name", ["a.json", "odd.json"])
@pytest.mark.parametrize("form", FORMATS)
def test_neither_the_encoding_nor_odd_text_changes_the_exit_code(form: str, name: str, folder: Path) -> None:
    plain = in_process("report", name, "-f", form, cwd=folder)
    ascii_only = installed("report", name, "-f", form, cwd=folder, PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert (plain.returncode, ascii_only.returncode) == (0, 0), plain.stderr + ascii_only.stderr
    if name == "odd.json" and form == "table":
        assert "caf\\xe9 ->" in ascii_only.stdout
    if form == "json":
        assert json.loads(ascii_only.stdout) == json.loads((folder / name).read_text())


def test_odd_text_is_written_to_files_too(folder: Path) -> None:
    done = in_process("report", "odd.json", "-o", "page.html", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "page.html").read_text(encoding="utf-8")
