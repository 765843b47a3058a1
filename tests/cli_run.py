"""Run the command line, in a process of its own or in this one."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest

from shiftaudit.cli.main import main


def environment(**more: str) -> dict[str, str]:
    """This process's, without what a terminal or the tests of a project of its own may have set."""
    ours = ("SHIFTAUDIT", "GITHUB_", "CI", "NO_COLOR", "FORCE_COLOR", "COLUMNS")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**clean, "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1", **more}


def python(*arguments: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """A Python process of its own."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        check=False,
        encoding="utf-8",
        timeout=300,
    )


def script_module(name: str) -> ModuleType:
    """A file of scripts/ as a module."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def installed(*arguments: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The command as users start it."""
    return python("-m", "shiftaudit", *arguments, cwd=cwd, **env)


def in_process(*arguments: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """What `installed` gives, computed in this process: without the seconds that a start takes."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
    command, before, known = ["shiftaudit", *map(str, arguments)], Path.cwd(), set(sys.modules)
    os.chdir(cwd)
    try:
        with (
            mock.patch.dict(os.environ, environment(**env), clear=True),
            mock.patch.object(sys, "argv", command),
            mock.patch.object(sys, "path", sys.path[:]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main()
    finally:
        os.chdir(before)
        for name in set(sys.modules) - known:
            if Path(getattr(sys.modules[name], "__file__", None) or "").is_relative_to(cwd):
                del sys.modules[name]  # a network's code in the folder: the next folder may have another of this name
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    assert isinstance(ended.value.code, int)
    return subprocess.CompletedProcess(command, ended.value.code, *texts)


class InProcess:
    """The command in this process, in a folder of its own: as good as installed where only words and files count."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        monkeypatch.chdir(folder)

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        self._monkeypatch.setattr(sys, "argv", ["shiftaudit", *map(str, arguments)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err
