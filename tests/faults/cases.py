"""The files that faults are tried on, and cases drawn from a seed."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path

import torch
from networks import Residual, seeded, write_images

from faults.harness import OUTPUT, Case, run

SCORE = ("--size", "16", "--resize", "20", "--shifts", "2", "--max-shift", "2", "--workers", "0", "--no-stages")
FILES = ("report.json", "base.json", "run.jsonl", "model.pt", "weights.pt", "images/00.png")
_ODD = (
    b"",
    b"\0",
    b"\xff\xfe",
    b"[" * 3000,
    b"9" * 5000,
    b"NaN",
    b"-1",
    b"1e999",
    b'"\\ud800"',
    b"null",
    b"{}",
    b"\n::error::x",
)


def make(folder: Path) -> Path:
    """A folder with a small model, images, a report, a baseline and samples."""
    write_images(folder / "images", n=3)
    network = seeded(Residual())
    torch.jit.save(torch.jit.script(network), folder / "model.pt")
    torch.save(network.state_dict(), folder / "weights.pt")
    for command in (
        ("score", "model.pt", "images", *SCORE, "-o", "report.json", "--samples", "run.jsonl", "-q"),
        ("baseline", "save", "report.json", "-o", "base.json"),
    ):
        code, told = run(Case(command, "set-up"), folder)
        assert code == 0, told
    return folder


def mutated(data: bytes, chance: random.Random) -> bytes:
    """One to three edits of bytes: flipped, cut out, doubled, cut short, or odd values put in."""
    edited = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(edited) + 1)
        length = chance.choice((1, 2, 8, 100))
        edit = chance.randrange(5)
        if edit == 0 and place < len(edited):
            edited[place] ^= 1 << chance.randrange(8)
        elif edit == 1:
            del edited[place : place + length]
        elif edit == 2:
            edited[place:place] = edited[place : place + length]
        elif edit == 3:
            edited[place : place + length] = chance.choice(_ODD)
        elif chance.random() < 0.3:
            del edited[place:]
    return bytes(edited)


def _of_file(name: str, chance: random.Random) -> Case:
    commands: dict[str, tuple[tuple[str, ...], ...]] = {
        "report.json": (
            ("report", "bad.json"),
            ("gate", "bad.json", "-b", "base.json"),
            ("compare", "report.json", "bad.json"),
            ("baseline", "save", "bad.json", "-o", OUTPUT),
        ),
        "base.json": (
            ("gate", "report.json", "-b", "bad.json", "-f", "json", "-o", OUTPUT),
            ("baseline", "show", "bad.json"),
        ),
        "run.jsonl": (("merge", "bad.jsonl", "-o", OUTPUT),),
        "model.pt": (("score", "bad.pt", "images", *SCORE, "-o", OUTPUT), ("stages", "bad.pt")),
        "weights.pt": (("score", "bad.pt", "images", "--arch", "resnet18", *SCORE, "-o", OUTPUT),),
        "images/00.png": (("score", "model.pt", "bad.png", *SCORE, "-o", OUTPUT),),
    }
    return Case(chance.choice(commands[name]), f"mutated {name}")


def _of_surroundings(chance: random.Random) -> Case:
    score = ("score", "model.pt", "images", *SCORE, "-o", OUTPUT)
    command = chance.choice((score, ("gate", "report.json", "-b", "base.json"), ("merge", "run.jsonl", "-o", OUTPUT)))
    kinds: tuple[Callable[[], Case], ...] = (
        lambda: Case(command, "full disk", file_size=chance.choice((0, 100, 1000, 4096))),
        lambda: Case((*command, "-f", "json"), "closed pipe", closed_pipe=True),
        lambda: Case(command, "killed", ended_by=signal.SIGKILL, after=chance.uniform(0, 0.5)),
        lambda: Case(command, "terminated", ended_by=signal.SIGTERM, after=chance.uniform(0.05, 0.5)),
        lambda: Case(command, "interrupted", ended_by=signal.SIGINT, after=chance.uniform(0.05, 0.5)),
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
    (folder / bad).write_bytes(mutated((folder / name).read_bytes(), chance))
    return case
