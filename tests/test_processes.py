"""Being told to end, or being killed: nothing half written, no process left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_run import environment
from networks import write_images

NETWORK = """
import time
from pathlib import Path
from torch import nn

class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, stride=2)
        self.passes = 0
    def forward(self, x):
        self.passes += 1
        if self.passes > 6:
            Path("scoring").touch()
            time.sleep(0.2)
        return self.conv(x).mean((2, 3))
"""


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
def test_workers_end_with_the_run_and_nothing_is_half_written(tmp_path: Path, number: int, code: int) -> None:
    write_images(tmp_path / "images", n=40)
    (tmp_path / "net.py").write_text(NETWORK)
    command = "score net:Slow images --size 16 --shifts 2 --max-shift 2 --no-stages --workers 2 -q -o report.json"
    run = subprocess.Popen(
        [sys.executable, "-m", "shiftaudit", *command.split()],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    until = time.monotonic() + 90
    while not (tmp_path / "scoring").exists() and time.monotonic() < until and run.poll() is None:
        time.sleep(0.05)
    workers = children_of(run.pid)
    assert workers
    os.kill(run.pid, number)
    _, told = run.communicate(timeout=30)  # a worker that lived on would hold the pipe
    assert run.returncode == code
    assert "Traceback" not in told
    until = time.monotonic() + 5
    while any(map(running, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(running, workers))
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == [
        "images",
        "net.py",
        "scoring",
    ]
