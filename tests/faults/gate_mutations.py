"""A candidate that the gate fails, and what somebody could edit to get it passed: report, baseline, labels, folder of images."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import torch
from networks import Residual, seeded, write_images
from PIL import Image
from torch import Tensor, nn

from faults.harness import Case, run
from faults.mutations import bytes_mutated, json_mutated
from shiftaudit.gate.consistent import digest

_IMAGES = 48
_GATE = ("--size", "16", "--resize", "20", "--workers", "0", "-q")
_SCORE = (*_GATE, "--shifts", "4", "--max-shift", "3", "--no-stages")
RULES = ("--margin", "circular.consistency=0.01", "--margin", "accuracy=0.01")


class Invariant(nn.Module):
    """Answers by the mean colour alone, which no circular shift changes."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.mean((2, 3)))


def make(folder: Path) -> Path:
    """A baseline of a network that is right and stays so, a report of one that is not, labels and images."""
    write_images(folder / "images", n=_IMAGES)
    good = seeded(Invariant(), seed=3)
    for name, network in (("good.pt", good), ("bad.pt", seeded(Residual()))):
        torch.jit.save(torch.jit.script(network), folder / name)
    _succeeds(folder, "score", "good.pt", "images", *_SCORE, "-o", "good.json")
    answers = json.loads((folder / "good.json").read_text())["per_image"]
    rows = [f"{image['path']},{image['prediction']}" for image in answers]
    (folder / "labels.csv").write_text("\n".join(("path,label", *rows)))
    for name in ("good", "bad"):
        _succeeds(folder, "score", f"{name}.pt", "images", *_SCORE, "--labels", "labels.csv", "-o", f"{name}.json")
    _succeeds(folder, "baseline", "save", "good.json", "-o", "base.json")
    return folder


def _succeeds(folder: Path, *words: str) -> None:
    code, told = run(Case(words, "set-up"), folder)
    assert code == 0, told


def of_report(candidate: str = "bad.json", baseline: str = "base.json") -> Case:
    """The gate on a report."""
    return Case(("gate", candidate, "-b", baseline, *RULES), "gate on a report")


def of_model(images: str = "images", labels: str = "labels.csv") -> Case:
    """The gate on a model, which it scores."""
    return Case(("gate", "bad.pt", images, "--labels", labels, "-b", "base.json", *RULES, *_GATE), "gate on a model")


def draw(seed: int, folder: Path) -> Case:
    """The gate on something edited, by a seed; it must never pass."""
    chance = random.Random(seed)
    what = chance.choice(("candidate", "baseline", "labels", "folder"))
    if what in ("candidate", "baseline"):
        source = "bad.json" if what == "candidate" else "base.json"
        (folder / "edited.json").write_bytes(_edited_json((folder / source).read_bytes(), chance))
        return of_report(candidate="edited.json") if what == "candidate" else of_report(baseline="edited.json")
    if what == "labels":
        (folder / "edited.csv").write_text(_edited_labels((folder / "labels.csv").read_text(), chance))
        return of_model(labels="edited.csv")
    shutil.rmtree(folder / "edited", ignore_errors=True)
    shutil.copytree(folder / "images", folder / "edited")
    for _ in range(chance.randint(1, 3)):
        _edit_folder(folder / "edited", chance)
    return of_model(images="edited")


def _edited_json(data: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.3:
        return bytes_mutated(data, chance)
    value = json.loads(data)
    for _ in range(chance.randint(1, 3)):
        value = json_mutated(value, chance)
    if isinstance(value, dict) and "digest" in value and chance.random() < 0.7:
        value["digest"] = digest(value)  # as somebody does who knows how it is made
    return json.dumps(value).encode()


def _edited_labels(text: str, chance: random.Random) -> str:
    head, *rows = text.split("\n")
    for _ in range(chance.randint(1, len(rows))):
        place = chance.randrange(len(rows))
        edit = chance.randrange(4)
        if edit == 0 and len(rows) > 1:
            del rows[place]
        elif edit == 1:
            rows.append(rows[place])
        else:
            rows[place] = rows[place].split(",")[0] + f",{chance.choice((0, 1, 2, 3, 4, 4, -1, 99))}"
    return "\n".join((head, *rows))


def _edit_folder(images: Path, chance: random.Random) -> None:
    files = sorted(images.iterdir())
    one, other = chance.choice(files), chance.choice(files)
    edit = chance.randrange(5)
    if edit == 0 and len(files) > 1:
        one.unlink()
    elif edit == 1:
        one.write_bytes(other.read_bytes())
    elif edit == 2:
        one.rename(images / f"z{one.name}")
    elif edit == 3:
        Image.new("RGB", (24, 24), (chance.randrange(256), 90, 20)).save(one)
    else:
        one.write_bytes(bytes_mutated(one.read_bytes(), chance))
