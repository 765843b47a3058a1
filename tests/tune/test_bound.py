"""A copy within a bound: what is fitted on, what is verified, and what a third set of images says of the claim."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_run import InProcess
from image_files import write_noise
from PIL import Image
from torch import nn

from shiftaudit import sample
from shiftaudit.audit.audit import audit
from shiftaudit.errors import InputError, NoVerdictError
from shiftaudit.images.file import ImageFile
from shiftaudit.images.find import find_images
from shiftaudit.models import LoadedModel, load_model
from shiftaudit.models.carried import Carried
from shiftaudit.records.bound import BoundOptions
from shiftaudit.records.codec import plain
from shiftaudit.records.patch import PatchOptions
from shiftaudit.records.report import Preprocessing
from shiftaudit.records.settings import Settings
from shiftaudit.tune import bound as bound_module
from shiftaudit.tune import data
from shiftaudit.tune.advise import consistency_of, correct_of
from shiftaudit.tune.bound import search, shares


class Sampled(nn.Module):
    """Names the brightness of every second pixel: right once fine detail is filtered out, by its parity before."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 1, 1, stride=2), nn.Linear(1, 2)
        self.conv.weight.data[:], self.head.weight.data[:] = 1.0, torch.tensor([[-9.0], [9.0]])
        nn.init.zeros_(self.conv.bias)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).mean((2, 3)))


def chequered(folder: Path, count: int) -> tuple[list[ImageFile], dict[str, int]]:
    """Images with a brightness that is their class, under a pattern of single pixels that is stronger."""
    generator = np.random.default_rng(0)
    parity = np.where(np.indices((24, 24)).sum(0) % 2, 40.0, -40.0)
    for index in range(count):
        pixels = (140 if index % 2 else 116) + parity * generator.choice([-1, 1]) + generator.normal(0, 2, (24, 24))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
    files, _ = find_images([folder])
    return files, {file.relative: int(file.path.stem) % 2 for file in files}


def bound(max_drop: float) -> BoundOptions:
    return BoundOptions(max_drop, (Path("images"),))


def test_the_claim_holds_on_a_third_set_and_the_held_out_share_was_never_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LoadedModel.from_module(Sampled().eval(), Preprocessing(16, 24, (0.5,), (0.25,), "bilinear", 1, "options"))
    files, labels = chequered(tmp_path, 60)
    third = files[::3]
    opened: set[str] = set()
    own = data.open_image

    def watched(path: Path, channels: int) -> Image.Image:
        opened.add(str(path))
        return own(path, channels)

    monkeypatch.setattr(data, "open_image", watched)
    options = PatchOptions(stem=True, strength=0.9)
    found = search(model, [file for file in files if file not in third], bound(0.2), options, labels=labels, seed=1)
    record = found.record
    assert found.model is not None and found.model.refit_record is not None
    assert set(found.model.refit_record.image_sha256) == set(record.fitting_sha256)
    assert not set(record.fitting_sha256) & set(record.held_sha256)
    assert (record.n_fitting, record.n_held, record.measure) == (20, 20, "accuracy")
    assert plain(Carried.from_json(Carried.of(found.model).to_json(), Path("aa.pt")).search) == plain(record)
    held = {str(file.path) for file in files if file.sha256() in record.held_sha256}
    assert opened and not opened & held

    settings = Settings(shifts="4", stages=False, workers=0)
    before, after = (audit(one, third, settings, labels=labels) for one in (model, found.model))
    assert float(np.mean(correct_of(before) - correct_of(after))) <= record.max_drop
    gains = [consistency_of(after, name) - consistency_of(before, name) for name in ("circular", "crop")]
    assert float(np.mean(gains)) > 0.3


def test_copies_are_tested_from_the_least_harm_on_up_to_the_first_that_fails() -> None:
    def copy(harm: float, gain: float) -> bound_module._Copy:
        return bound_module._Copy(None, PatchOptions(), harm, gain)  # type: ignore[arg-type]

    best, beaten, safe = copy(0.2, 0.3), copy(0.2, 0.1), copy(0.0, 0.05)
    assert bound_module._front([best, beaten, safe]) == [safe, best]
    assert bound_module._worth_keeping([best, beaten, safe]) == [safe, best, beaten]


def test_equal_files_are_never_on_both_sides(tmp_path: Path) -> None:
    for index in range(10):
        for copy in "ab":
            Image.new("RGB", (8, 8), (20 * index, 0, 0)).save(tmp_path / f"{copy}{index}.png")
    fitting, held = shares(find_images([tmp_path])[0], 0.5, 0)
    assert (len(fitting), len(held)) == (5, 5)
    assert not {file.sha256() for file in fitting} & {file.sha256() for file in held}


def test_too_few_images_are_told_at_once() -> None:
    model = load_model(str(sample.model_path()))
    files, _ = find_images([sample.images_path()])
    with pytest.raises(
        NoVerdictError, match=r"40 held-out images can verify a drop of 7\.2 % at best, not 1\.0 %; give 598"
    ):
        search(model, files, bound(0.01))


@pytest.mark.parametrize(
    "given", [{"max_drop": 0.1}, {"images": (Path("x"),)}, {"max_drop": 0.0, "images": (Path("x"),)}]
)
def test_a_bound_and_its_images_belong_together(given: dict[str, object]) -> None:
    with pytest.raises(InputError, match="--max-drop"):
        BoundOptions(**given)  # type: ignore[arg-type]


class Constant(nn.Module):
    """Always answers the first class, so that no copy can be more consistent."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool, self.head = nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Linear(4, 3)
        nn.init.zeros_(self.head.weight)
        self.head.bias.data = torch.tensor([1.0, 0.0, 0.0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.conv(x)).mean((2, 3)))


def test_where_nothing_helps_the_best_are_shown_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    torch.jit.script(Constant().eval()).save(str(tmp_path / "model.pt"))
    write_noise(tmp_path / "images", 12, 20)
    run = InProcess(tmp_path, monkeypatch, capsys)
    command = (
        "patch",
        "model.pt",
        "--size",
        16,
        "--resize",
        20,
        "-o",
        "out.pt",
        "--max-drop",
        0.5,
        "--images",
        "images",
    )
    code, out, error = run(*command, "--for", "crop", "--labels", "none")
    assert code == 3, error
    assert "no copy within the bound is surely more consistent" in error
    assert "3 tested on 6 held-out images" in out
    assert "--budget" not in error
    code, out, error = run(*command, "--labels", "none", "--budget", 1e-6)
    assert (code, "1 of 4 copies" in out, "a longer --budget" in error) == (3, True, True)
    code, out, _ = run(*command, "--json", "--filter-size", 2)
    record = json.loads(out)["search"]
    assert (code, record["measure"], record["chosen"], record["n_planned"]) == (3, "agreement", None, 1)
    assert record["candidates"][0]["harm"]["ci_low"] >= 0  # no fewer than none of the answers can differ
    assert not (tmp_path / "out.pt").exists()
    code, _, error = run(*command, "--refit", "images")
    assert (code, "--refit" in error) == (2, True)
