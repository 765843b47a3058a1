"""What is told on stderr while a command works."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_run import environment, python

from shiftaudit import sample
from shiftaudit.cli import progress
from shiftaudit.cli.progress import progress_bar, working


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_a_spinner_until_something_else_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Tty()
    monkeypatch.setattr(sys, "stderr", stderr)
    with working("loading the model", quiet=False):
        assert "loading the model" in stderr.getvalue()
        print("Downloading weights")  # noqa: T201  # as torch.hub does, on stdout
    assert stderr.getvalue().endswith("Downloading weights\n")


@pytest.mark.parametrize("quiet", [False, True])
def test_what_is_printed_while_a_model_loads_is_no_result(capsys: pytest.CaptureFixture[str], quiet: bool) -> None:
    with working("loading the model", quiet=quiet):
        print("Downloading weights")  # noqa: T201
    assert capsys.readouterr() == ("", "Downloading weights\n")


def test_a_terminal_sees_a_bar_and_names_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Tty()
    monkeypatch.setattr(sys, "stderr", stderr)
    with progress_bar(quiet=False) as bar:
        assert bar is not None
        bar.update(3, 7, "fitting [red]layer")
    assert "fitting [red]layer" in stderr.getvalue()
    assert "3/7" in stderr.getvalue()


def test_without_a_terminal_a_line_is_written_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with progress_bar(quiet=False) as bar:
        assert bar is not None
        bar.start(1000)
        for _ in range(70):
            now += 1.0
            bar.advance(None)
    assert capsys.readouterr() == ("", "scoring: 30 of 1,000 images\nscoring: 60 of 1,000 images\n")


def test_quiet_says_nothing() -> None:
    with progress_bar(quiet=True) as bar:
        assert bar is None


IMAGES = sample.images_path()
LONG = {
    "score": (sample.model_path(), IMAGES),
    "tune": (sample.model_path(), IMAGES, "--teacher", sample.model_path(), "-o", "x.pt"),
    "refit": (sample.model_path(), IMAGES, "--teacher", sample.model_path(), "-o", "x.pt"),
    "patch": (sample.model_path(), "-o", "x.pt"),
    "advise": (sample.model_path(), IMAGES),
    "sweep": (sample.model_path(), sample.antialiased_model_path(), IMAGES, "-o", "x.csv"),
    "show": (sample.model_path(), IMAGES / "cat" / "0.jpg"),
    "stages": (sample.model_path(),),
    "demo": ("--copy", "sample"),
    "doctor": (),
}


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize("command", LONG)
def test_something_turns_before_torch_is_imported(command: str, tmp_path: Path) -> None:
    """Importing torch takes seconds; this one says that it is being imported, and ends."""
    stub = tmp_path / "stub" / "torch"
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text("import os, sys\nsys.stderr.write('TORCH')\nsys.stderr.flush()\nos._exit(3)\n")
    ours, theirs = os.openpty()
    path = os.pathsep.join([str(stub.parent), str(Path(__file__).parents[2])])
    subprocess.run(
        [sys.executable, "-m", "shiftaudit", command, *map(str, LONG[command])],
        cwd=tmp_path,
        env=environment(PYTHONPATH=path, TERM="xterm"),
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        timeout=60,
        check=False,
    )
    os.close(theirs)
    told = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "TORCH" in told
    assert any(words in told.partition("TORCH")[0] for words in ("loading", "looking"))


IMPORTS = """
import gc
from shiftaudit.cli.progress import load_torch
load_torch(quiet=True)
print(gc.isenabled(), gc.get_freeze_count() > 100_000)
"""


def test_what_is_imported_is_not_searched_for_cycles_and_what_comes_later_is() -> None:
    done = python("-c", IMPORTS)
    assert (done.returncode, done.stdout) == (0, "True True\n"), done.stderr
