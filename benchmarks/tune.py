"""What a step of `shiftaudit tune` costs beside a bare training loop that passes as many batches through the same two networks.

    OMP_NUM_THREADS=1 python benchmarks/tune.py --network mobilenet_v2 --turns 3

Both are run as processes of their own, for few and for more steps, and take turns; the difference is what the steps alone
cost, in CPU seconds of the process and of those it started. The bare loop is what one would write by hand: the two files as
`torch.jit.load` gives them, batches that are there already, the original's answers to as many views as `tune` asks it for, the
copy's answer and its gradient, AdamW. It has no feature targets, cuts no crops and decodes nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from startup import spent

SIZE, BATCH, SHORT, LONG = 224, 16, 2, 8


def bare(steps: int, views: int) -> None:
    """The loop by hand."""
    import torch
    import torch.nn.functional as F

    student, teacher = torch.jit.load("patched.pt").eval(), torch.jit.load("model.pt").eval()
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-5)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        images = torch.randn(BATCH, 3, SIZE, SIZE, generator=generator)
        with torch.no_grad():
            target = sum(teacher(images).softmax(-1) for _ in range(views)) / views
        loss = F.kl_div(student(images).log_softmax(-1), target, reduction="batchmean")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()


def prepare(network: str) -> None:
    """The network as a file, and its patched copy."""
    import torch
    import torchvision

    torch.manual_seed(0)
    torch.jit.script(torchvision.models.get_model(network, weights=None).eval()).save("model.pt")
    command = [sys.executable, "-m", "shiftaudit", "patch", "model.pt", "-o", "patched.pt", "--size", str(SIZE), "-q"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="mobilenet_v2")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    from shiftaudit import sample
    from shiftaudit.records.tune import TuneSettings

    views = 1 + TuneSettings().shift_views
    if options.bare is not None:
        bare(options.bare, views)
        return
    images, itself = str(sample.images_path()), str(Path(__file__).absolute())
    tune = ("-m", "shiftaudit", "tune", "patched.pt", images, "--teacher", "model.pt", "-o", "tuned.pt", "-q",
            "--force",
            "--batch-size", str(BATCH), "--checks", "1")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        prepare(options.network)
        found = {"`tune`": [], "bare loop": []}
        for _ in range(options.turns):
            for name, line in (("`tune`", (*tune, "--steps")), ("bare loop", (itself, "--bare"))):
                short, long = (spent((*line, str(steps)), codes=(0,))[0] for steps in (SHORT, LONG))
                found[name].append((long - short) / (LONG - SHORT))
        os.chdir("/")
    print("| what | CPU s a step | ÷ bare loop |\n|---|---|---|")
    for name, seconds in found.items():
        print(f"| {name} of {options.network} | {min(seconds):.2f} | {min(seconds) / min(found['bare loop']):.2f} |")


if __name__ == "__main__":
    main()
