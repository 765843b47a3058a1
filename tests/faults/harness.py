"""The command in a process forked from one that has imported everything, under a fault, and the five things that must hold."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import pkgutil
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import onnx

import shiftaudit
from shiftaudit.__main__ import main

CODES = frozenset({0, 2, 3, 130, 141, 143})
OUTPUT = "out.json"
OUTPUT_MODEL = "out.pt"
OUTPUT_ONNX = "out.onnx"
OUTPUT_PAGE = "out.html"
REPORTS = "reports"
"""A folder of results that a stopped sweep goes on from."""
_DISK = 16 * 2**10


@dataclass(frozen=True)
class Case:
    """One command and what is done to it."""

    arguments: tuple[str, ...]
    what: str
    environment: dict[str, str] = field(default_factory=dict)
    file_size: int | None = None
    closed_pipe: bool = False
    ended_by: int | None = None
    after: float = 0.0
    open_files: int | None = None
    """The most files that may be open at once."""
    full_disk: bool = False
    """The folder is on a disk that has no room for a result, where this system lets us make one."""
    folder_deleted: bool = False
    """The command is started in a folder that is gone."""

    @property
    def codes(self) -> frozenset[int]:
        """What it may end with: 1 is the gate's alone."""
        gate = frozenset({1}) if self.arguments[0] == "gate" else frozenset()
        return CODES | gate | (frozenset({-9}) if self.ended_by == signal.SIGKILL else frozenset())


def preload() -> None:
    """Import the whole package and what it imports by need, so that every forked case has it."""
    importlib.import_module("onnxruntime")
    for module in pkgutil.walk_packages(shiftaudit.__path__, "shiftaudit."):
        importlib.import_module(module.name)


def run(case: Case, folder: Path) -> tuple[int, str]:
    """Exit code and stderr of the command in `folder`."""
    told = folder.parent / "stderr"
    pid = os.fork()
    if pid == 0:
        _child(case, folder, told)
    if case.ended_by is not None:
        time.sleep(case.after)
        os.kill(pid, case.ended_by)
    until = time.monotonic() + 120
    while (done := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(done[1]), told.read_text(errors="replace") if told.exists() else ""


def _child(case: Case, folder: Path, told: Path) -> None:
    code = 99
    try:
        os.setsid()
        os.chdir(folder)
        if case.folder_deleted:
            gone = folder.parent / "gone"
            gone.mkdir()
            os.chdir(gone)
            gone.rmdir()
        reading, writing = os.pipe()
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 0)
        os.dup2(writing if case.closed_pipe else nowhere, 1)
        os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        for one in (reading, writing):
            os.close(one)
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(n, mode, closefd=False) for n, mode in ((0, "r"), (1, "w"), (2, "w"))
        )
        os.environ.update(case.environment)
        if case.file_size is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (case.file_size, case.file_size))
        if case.open_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (case.open_files, case.open_files))
        sys.argv = ["shiftaudit", *case.arguments]
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 98
    finally:
        try:
            sys.stdout.flush()
        except OSError:
            code = 97
        os._exit(code)


def contents(folder: Path) -> dict[str, str]:
    """Every file and its hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def violations(case: Case, folder: Path) -> list[str]:
    """What does not hold of a run of the case; the outputs it wrote are removed."""
    before = contents(folder)
    with _filled(folder) if case.full_disk else nullcontext(folder) as place:
        code, told = run(case, place)
        after = contents(place)
        found = [f"exit code {code}: {told[-300:]}"] if code not in case.codes else []
        if "Traceback" in told:
            found.append(f"a traceback: {told[-600:]}")
        found += [f"{name} was changed" for name, digest in before.items() if after.get(name) != digest]
        for name in sorted(set(after) - set(before)):
            found += _half_written(place / name, case)
            (place / name).unlink()
        shutil.rmtree(place / REPORTS, ignore_errors=True)
    return found + _left_running()


@contextmanager
def _filled(folder: Path) -> Iterator[Path]:
    """The folder's files on a disk of their own that is full but for a few KiB; the folder itself where none can be mounted."""
    place = folder.parent / "disk"
    place.mkdir(exist_ok=True)
    size = sum(path.stat().st_size + 4096 for path in folder.rglob("*")) + _DISK
    options = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(options, capture_output=True, check=False).returncode:
        yield folder
        return
    try:
        shutil.copytree(folder, place, dirs_exist_ok=True)
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _half_written(path: Path, case: Case) -> list[str]:
    whole = _WHOLE.get(path.name) or (_is_json if path.parent.name == REPORTS and path.suffix == ".json" else None)
    if whole is not None:
        return [] if whole(path) else [f"{path.name} is half written"]
    killed = case.ended_by == signal.SIGKILL
    return (
        [] if path.name.endswith(".partial") or (killed and path.name.endswith(".tmp")) else [f"{path.name} was left"]
    )


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except ValueError:
        return False
    return True


def _is_archive(path: Path) -> bool:
    return zipfile.is_zipfile(path) and zipfile.ZipFile(path).testzip() is None


def _is_onnx(path: Path) -> bool:
    try:
        onnx.checker.check_model(onnx.load(path))
    except Exception:
        return False
    return True


def _is_page(path: Path) -> bool:
    return path.read_text().rstrip().endswith("</html>")


_WHOLE = {OUTPUT: _is_json, OUTPUT_MODEL: _is_archive, OUTPUT_ONNX: _is_onnx, OUTPUT_PAGE: _is_page}


def _left_running() -> list[str]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [f"process {pid} is still running" for pid in children]
