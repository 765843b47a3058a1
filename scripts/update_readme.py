"""Run the commands whose output the README shows, on the bundled sample, and put the output in.

python scripts/update_readme.py
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from shiftaudit import sample

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"(<!-- output of: (.+?) -->\n```\n).*?(```)", re.DOTALL)
BEFORE = [
    "shiftaudit score model.pt images -q -o report.json",
    "shiftaudit baseline save report.json -o baseline.json",
]


def run(command: str, folder: str) -> str:
    """What a command prints at 80 columns; exit code 1 is a failed gate, which is a result."""
    arguments = [sys.executable, "-m", *shlex.split(command)]
    environment = {**os.environ, "COLUMNS": "80", "CI": ""}
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{command} ended with {done.returncode}: {done.stderr}")
    return done.stdout.rstrip("\n") + "\n"


def main() -> None:
    """Rewrite the blocks of the README in place."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.pt").symlink_to(sample.model_path())
        (Path(folder) / "images").symlink_to(sample.images_path())
        for command in BEFORE:
            run(command, folder)
        text = BLOCK.sub(lambda m: m[1] + run(m[2], folder) + m[3], README.read_text(encoding="utf-8"))
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
