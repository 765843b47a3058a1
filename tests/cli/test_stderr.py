"""Messages change no exit code and command nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli_run import environment, in_process
from report_builder import fake_report

from shiftaudit.records.codec import dumps

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX devices")
STOP = "no\n::stop-commands::token\x1b[31m##[add-mask]x.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("stderr")
    (where / "a.json").write_text(dumps(fake_report(40)))
    assert in_process("baseline", "save", "a.json", cwd=where).returncode == 0
    return where


@pytest.mark.parametrize("stderr", ["2>/dev/full", "2>&-"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("compare a.json a.json", 0),
        ("baseline save a.json -o again.json --force", 0),
        ("gate missing.json", 2),
        ("gate a.json -b missing.json", 3),
        ("gate", 2),
        ("report a.json --nonsense", 2),
        ("nonsense", 2),
    ],
)
def test_a_stderr_that_takes_nothing_changes_no_exit_code(words: str, code: int, stderr: str, folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m shiftaudit {words} {stderr}"],
        cwd=folder, env=environment(), capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    plain = in_process(*words.split(), cwd=folder)
    assert (done.returncode, plain.returncode) == (code, code), plain.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["report", STOP],
        ["report", "a.json", "--format", STOP],
        ["report", f"--{STOP}"],
        [STOP],
        ["stages", STOP + ".pt"],
        ["score", "resnet18", STOP],
        ["compare", "a.json", "a.json", "-o", f"nowhere/{STOP}"],
        ["--config", STOP, "doctor"],
    ],
)
def test_what_was_typed_commands_neither_a_terminal_nor_a_runner(words: list[str], folder: Path) -> None:
    done = in_process(*words, cwd=folder)
    assert done.returncode == 2
    assert "stop-commands" in done.stderr
    for line in (done.stdout + done.stderr).splitlines():
        assert not line.lstrip().startswith("::")
        assert "##[" not in line
        assert "\x1b" not in line
