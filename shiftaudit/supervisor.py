"""Run code that is not trusted in a child process: away from the files and the exit code of this one, and not for ever.

The child is a fork with a session, a folder and limits of its own. On Linux it may write nowhere but in that folder (Landlock).
What it leaves there is data to its parent, to be read as strictly as any file from elsewhere.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from shiftaudit.errors import InputError, ModelError, ShiftAuditError
from shiftaudit.processes import end_with_parent

RESULT: Final = "result.json"
ERROR: Final = "error.txt"
_FAILED = 70
_LONGEST_ERROR = 1000
_LARGEST_FILE = 4 * 2**30
_PR_SET_NO_NEW_PRIVS, _PR_SET_CHILD_SUBREAPER = 38, 36
# System calls of Landlock have these numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_WRITE_FILE = 1 << 1
# Write, remove and make every kind of file; moving between folders since version 2, truncating since 3.
_WRITES = {1: 0x1FF2, 2: 0x3FF2, 3: 0x7FF2}


def run_isolated(work: Callable[[], str], *, seconds: float, what: str) -> bytes:
    """The text, as UTF-8, that `work` returns, computed in a child process.

    Args:
        work: runs in the child, where the current folder is an empty one that vanishes afterwards.
        seconds: the child is ended after them.
        what: names the work in messages.

    Raises:
        InputError: the system has no fork.
        ModelError: the child ended in any other way than by leaving its text: it died, exited, took too long, or failed.
    """
    if not hasattr(os, "fork") or sys.platform == "win32":
        raise InputError("--isolate needs processes that fork, which this system does not have", hint="leave it out")
    with tempfile.TemporaryDirectory(prefix="shiftaudit-isolated-") as name:
        scratch = Path(name)
        _adopt_orphans()
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            _child(work, scratch, parent, seconds)
        try:
            status = _wait(child, seconds)
        finally:
            _end_session(child)
        if status is None:
            raise ModelError(f"{what} took longer than {seconds:g} seconds in isolation", hint="raise --time-limit")
        return _result(scratch, os.waitstatus_to_exitcode(status), what)


def can_forbid_writing() -> bool:
    """Whether the system can keep the child from writing outside of its folder."""
    return _landlock_version() > 0


def _child(work: Callable[[], str], scratch: Path, parent: int, seconds: float) -> NoReturn:
    try:
        os.setsid()
        end_with_parent(parent)
        _close_files()
        os.chdir(scratch)
        _limit(seconds)
        _forbid_writing(scratch)
        (scratch / RESULT).write_text(work(), encoding="utf-8", errors="backslashreplace")
        os._exit(0)
    except ShiftAuditError as error:
        _tell(scratch, str(error))
    except BaseException as error:  # whatever it is, the parent has to hear of it
        _tell(scratch, f"{type(error).__name__}: {error}")
    os._exit(_FAILED)


def _tell(scratch: Path, message: str) -> None:
    with suppress(OSError):
        (scratch / ERROR).write_text(message[:_LONGEST_ERROR], encoding="utf-8", errors="backslashreplace")


def _close_files() -> None:
    """Nothing of the parent's is open in the child: neither the results nor a pipeline's pipe."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.closerange(3, 65536)


def _limit(seconds: float) -> None:
    import resource

    def lower(name: int, value: int) -> None:
        _, most = resource.getrlimit(name)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(name, (value, value))

    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_FSIZE, _LARGEST_FILE)
    lower(resource.RLIMIT_CPU, int(seconds * (os.cpu_count() or 1)) + 1)
    with suppress(OSError, ValueError):
        # Of data, not of address space, of which PyTorch reserves far more than it uses.
        lower(resource.RLIMIT_DATA, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


# --- Landlock ----------------------------------------------------------------------------------------------------------


def _landlock_version() -> int:
    if sys.platform != "linux":
        return 0
    return max(0, int(ctypes.CDLL(None, use_errno=True).syscall(_CREATE_RULESET, None, 0, 1)))


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def _forbid_writing(scratch: Path) -> None:
    """Nothing can be written, made or removed from here on but below `scratch`. Does nothing where the system cannot."""
    version = _landlock_version()
    if version == 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    handled = _WRITES[min(version, max(_WRITES))]
    attributes = ctypes.c_uint64(handled)
    rules = libc.syscall(_CREATE_RULESET, ctypes.byref(attributes), ctypes.sizeof(attributes), 0)
    if rules < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    for path, allowed in ((scratch, handled), (Path(os.devnull), handled & (_WRITE_FILE | 1 << 14))):
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = _PathRule(allowed, opened)
        if libc.syscall(_ADD_RULE, rules, 1, ctypes.byref(rule), 0):
            raise OSError(ctypes.get_errno(), "landlock_add_rule")
        os.close(opened)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.syscall(_RESTRICT_SELF, rules, 0):
        raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    os.close(rules)


# --- the parent --------------------------------------------------------------------------------------------------------


def _adopt_orphans() -> None:
    """What the child leaves running becomes a child of this process, so that it can be found and ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _wait(child: int, seconds: float) -> int | None:
    """The child's status; None where it had to be ended."""
    until = time.monotonic() + seconds
    pause = 0.005
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(pause)
        pause = min(0.2, pause * 1.5)
    return None


def _end_session(child: int) -> None:
    for end in (os.killpg, os.kill):
        with suppress(OSError):
            end(child, signal.SIGKILL)
    for _ in range(1000):
        for orphan in _children():
            with suppress(OSError):
                os.kill(orphan, signal.SIGKILL)
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.005)
        except ChildProcessError:
            return


def _children() -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def _result(scratch: Path, code: int, what: str) -> bytes:
    from shiftaudit.records.json_files import read_bytes

    left = scratch / (RESULT if code == 0 else ERROR)
    is_there = left.is_file() and not left.is_symlink()
    if code == 0 and is_there:
        return read_bytes(left)
    if code == 0:
        raise ModelError(f"{what} ended its process without a result, in isolation")
    if code == _FAILED and is_there:
        with left.open("rb") as file:
            raise ModelError(f"in isolation: {file.read(_LONGEST_ERROR).decode('utf-8', 'replace')}")
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    raise ModelError(f"{what} {how} in isolation", hint="it may have run out of memory or time, or ended itself")
