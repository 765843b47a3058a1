"""The files that faults are tried on, and cases drawn from a seed."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import onnx_files
import torch
from networks import Residual, seeded, write_images
from safetensors.torch import save_file
from torch import nn

from faults.harness import OUTPUT, OUTPUT_MODEL, OUTPUT_ONNX, OUTPUT_PAGE, REPORTS, Case, run
from faults.mutations import mutated

SCORE = ("--size", "16", "--resize", "20", "--shifts", "2", "--max-shift", "2", "--workers", "0", "--no-stages")
PATCH = ("patch", "model.pt", "--size", "16", "-o", OUTPUT_MODEL)
REFIT = ("refit", "patched.pt", "images", "--teacher", "model.pt", "--crops", "4", "-o", OUTPUT_MODEL)
TUNE = (
    "tune", "patched.pt", "images", "--teacher", "model.pt", "--steps", "1", "--batch-size", "2", "-o", OUTPUT_MODEL,
)  # fmt: skip
PAGE = ("report", "report.json", "-o", OUTPUT_PAGE)
SWEEP = ("sweep", "model.pt", "images", *SCORE, "-o", OUTPUT, "--reports", REPORTS)
FILES = (
    "report.json",
    "base.json",
    "run.jsonl",
    "model.pt",
    "model.onnx",
    "patched.pt",
    "weights.pt",
    "weights.safetensors",
    "images/00.png",
    "images.tar",
    "images.zip",
    "labels.csv",
)


def _network() -> nn.Module:
    return seeded(Residual())


def make(folder: Path) -> Path:
    """A folder with a small model, images, a report, a baseline and samples."""
    write_images(folder / "images", n=3)
    network = _network()
    torch.jit.save(torch.jit.script(network), folder / "model.pt")
    (folder / "model.onnx").write_bytes(onnx_files.exported(_network, "torchscript"))
    torch.save(network.state_dict(), folder / "weights.pt")
    save_file(network.state_dict(), folder / "weights.safetensors")
    for kind in ("tar", "zip"):
        shutil.make_archive(str(folder / "images"), kind, folder / "images")
    (folder / "labels.csv").write_text("path,label\n" + "".join(f"{n:02}.png,{n}\n" for n in range(3)))
    for command in (
        ("patch", "model.pt", "--size", "16", "-o", "patched.pt", "-q"),
        ("score", "model.pt", "images", *SCORE, "-o", "report.json", "--samples", "run.jsonl", "-q"),
        ("baseline", "save", "report.json", "-o", "base.json"),
    ):
        code, told = run(Case(command, "set-up"), folder)
        assert code == 0, told
    return folder


def _of_file(name: str, chance: random.Random) -> Case:
    commands: dict[str, tuple[tuple[str, ...], ...]] = {
        "report.json": (
            ("report", "bad.json"),
            ("report", "bad.json", "-o", OUTPUT_PAGE),
            ("gate", "bad.json", "-b", "base.json"),
            ("compare", "report.json", "bad.json"),
            ("baseline", "save", "bad.json", "-o", OUTPUT),
        ),
        "base.json": (
            ("gate", "report.json", "-b", "bad.json", "-f", "json", "-o", OUTPUT),
            ("baseline", "show", "bad.json"),
        ),
        "run.jsonl": (("merge", "bad.jsonl", "-o", OUTPUT),),
        "model.pt": (
            ("score", "bad.pt", "images", *SCORE, "-o", OUTPUT),
            ("stages", "bad.pt", "--size", "16"),
            ("patch", "bad.pt", "--size", "16", "-o", OUTPUT_MODEL),
        ),
        "model.onnx": (
            ("score", "bad.onnx", "images", *SCORE, "-o", OUTPUT),
            ("stages", "bad.onnx", "--size", "16"),
            ("patch", "bad.onnx", "--size", "16", "-o", OUTPUT_ONNX),
        ),
        "patched.pt": (("score", "bad.pt", "images", *SCORE, "-o", OUTPUT), ("refit", "bad.pt", *REFIT[2:])),
        "weights.pt": (("score", "bad.pt", "images", "--arch", "resnet18", *SCORE, "-o", OUTPUT),),
        "weights.safetensors": (("score", "bad.safetensors", "images", "--arch", "resnet18", *SCORE, "-o", OUTPUT),),
        "images/00.png": (("score", "model.pt", "bad.png", *SCORE, "-o", OUTPUT),),
        "images.tar": (
            ("score", "model.pt", "bad.tar", *SCORE, "-o", OUTPUT),
            ("refit", "patched.pt", "bad.tar", *REFIT[3:]),
        ),
        "images.zip": (("score", "model.pt", "bad.zip", *SCORE, "-o", OUTPUT),),
        "labels.csv": (("score", "model.pt", "images", "--labels", "bad.csv", *SCORE, "-o", OUTPUT),),
    }
    return Case(chance.choice(commands[name]), f"mutated {name}")


def _of_surroundings(chance: random.Random) -> Case:
    score = ("score", "model.pt", "images", *SCORE, "-o", OUTPUT)
    gate = ("gate", "report.json", "-b", "base.json", "-o", OUTPUT, "-f", "json")
    command = chance.choice((score, gate, ("merge", "run.jsonl", "-o", OUTPUT), PAGE, SWEEP, PATCH, REFIT, TUNE))
    kinds: tuple[Callable[[], Case], ...] = (
        lambda: Case(command, "largest file", file_size=chance.choice((0, 100, 1000, 4096))),
        lambda: Case(command, "full disk", full_disk=True),
        lambda: Case((*score, "-f", "json"), "closed pipe", closed_pipe=True),
        lambda: Case(command, "killed", ended_by=signal.SIGKILL, after=chance.uniform(0, 1)),
        lambda: Case(command, "terminated", ended_by=signal.SIGTERM, after=chance.uniform(0.05, 1)),
        lambda: Case(command, "interrupted", ended_by=signal.SIGINT, after=chance.uniform(0.05, 1)),
        lambda: Case(command, "few open files", open_files=chance.choice((4, 8, 12, 20))),
        lambda: Case(command, "folder deleted", folder_deleted=True),
        lambda: Case(
            command, "locale", environment={"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "COLUMNS": "0", "TERM": ""}
        ),
        lambda: Case(score, "launcher", environment={"RANK": chance.choice(("x", "-1", "7", "")), "WORLD_SIZE": "2"}),
    )
    return chance.choice(kinds)()


def draw(seed: int, folder: Path) -> Case:
    """The case of a seed; a mutated file is written into the folder."""
    chance = random.Random(seed)
    for old in folder.glob("bad.*"):
        old.unlink()
    if chance.random() < 0.3:
        return _of_surroundings(chance)
    name = chance.choice(FILES)
    case = _of_file(name, chance)
    bad = next(argument for argument in case.arguments if argument.startswith("bad."))
    (folder / bad).write_bytes(mutated(name, (folder / name).read_bytes(), chance))
    return case
