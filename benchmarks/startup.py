"""What it costs to begin: CPU seconds of the program beside those of importing torch, as a Markdown table.

    OMP_NUM_THREADS=1 python benchmarks/startup.py --turns 5

Every line is a process of its own, and all take turns; the fastest turn of each counts, so that what else runs disturbs less. CPU
seconds are those of the process and of the processes that it started, as the system counted them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

LINES: dict[str, tuple[str, ...]] = {
    "`import torch`": ("-c", "import torch"),
    "`import torch, torchvision`": ("-c", "import torch, torchvision"),
    "`import shiftaudit`": ("-c", "import shiftaudit"),
    "`import shiftaudit.audit.audit`, all that scores": ("-c", "import shiftaudit.audit.audit, shiftaudit.models.load"),
    "`shiftaudit --help`": ("-m", "shiftaudit", "--help"),
    "`shiftaudit score missing.pt images/`": ("-m", "shiftaudit", "score", "missing.pt", "."),
    "`shiftaudit score model.pt images/ --shifts x`": ("-m", "shiftaudit", "score", "model.pt", ".", "--shifts", "x"),
    "`shiftaudit demo`, 80 images × 22 answers": ("-m", "shiftaudit", "demo"),
}


def spent(arguments: tuple[str, ...], *, codes: tuple[int, ...] | None = None) -> tuple[float, float]:
    """CPU seconds and largest MiB of a Python with these arguments, its children included.

    What it prints is its own business, and how it ends where no `codes` are expected.
    """
    hidden = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in ((1,) if codes else (1, 2))]
    pid = os.posix_spawn(sys.executable, [sys.executable, *arguments], os.environ, file_actions=hidden)
    _, status, used = os.wait4(pid, 0)
    if codes is not None and os.waitstatus_to_exitcode(status) not in codes:
        raise SystemExit(f"{' '.join(arguments)} ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, help="how often each is run")
    turns = parser.parse_args().turns
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("model.pt").write_bytes(b"")
        times = {name: [] for name in LINES}
        for turn in range(turns + 1):
            for name, arguments in LINES.items():
                seconds, _ = spent(arguments)
                if turn:  # the first writes bytecode and fills the file system's cache
                    times[name].append(seconds)
    torch = min(times["`import torch`"])
    print("| what | CPU s | ÷ importing torch |\n|---|---|---|")
    for name, found in times.items():
        print(f"| {name} | {min(found):.2f} | {min(found) / torch:.2f} |")


if __name__ == "__main__":
    main()
