from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import write_noise
from networks import reexported, reloaded
from PIL import Image
from torch import nn

from shiftaudit.errors import InputError, ModelError, PatchError
from shiftaudit.images.file import ImageFile
from shiftaudit.images.find import find_images
from shiftaudit.models import LoadedModel
from shiftaudit.records.codec import plain, structure
from shiftaudit.records.report import Preprocessing
from shiftaudit.records.tune import TuneRecord, TuneSettings
from shiftaudit.surgery.blurpool import BlurPool
from shiftaudit.tune.data import NO_LABEL, CropSource, split
from shiftaudit.tune.loop import tune
from shiftaudit.tune.training import Progress

SIZE = 16
PREPROCESSING = Preprocessing(SIZE, SIZE, (0.5,), (0.25,), "bilinear", 3, "options")
QUICK = TuneSettings(steps=8, batch_size=4, lr=2e-3, checks=2, min_scale=0.3, holdout=0.25)


def network(blurred: bool, filter_size: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv1"] = nn.Conv2d(3, 8, 3, padding=1)
    layers["bn1"] = nn.BatchNorm2d(8)
    layers["relu1"] = nn.ReLU()
    layers["pool"] = nn.Sequential(nn.MaxPool2d(2, 1), BlurPool(8, filter_size)) if blurred else nn.MaxPool2d(2)
    layers["conv2"] = nn.Conv2d(8, 8, 3, padding=1)
    layers["bn2"] = nn.BatchNorm2d(8)
    layers["relu2"] = nn.ReLU()
    layers["conv3"] = nn.Conv2d(8, 8, 3, stride=1 if blurred else 2, padding=1)
    layers["relu3"] = nn.ReLU()
    layers["blur"] = BlurPool(8, filter_size) if blurred else nn.Identity()
    layers["flat"] = nn.Flatten()
    layers["drop"] = nn.Dropout(0.5)
    layers["fc"] = nn.Linear(128, 4)
    with torch.no_grad():
        layers["fc"].weight.mul_(60)  # so that answers differ from image to image
    return nn.Sequential(layers)


def loaded(module: nn.Module) -> LoadedModel:
    return LoadedModel.from_module(module, PREPROCESSING)


def scripted(module: nn.Module) -> LoadedModel:
    return replace(loaded(module), module=reloaded(torch.jit.script(module.eval())).eval())


def exported(module: nn.Module) -> LoadedModel:
    return replace(loaded(module), module=reexported(module.eval(), torch.zeros(2, 3, SIZE, SIZE), any_batch=True))


@pytest.fixture(autouse=True)
def few_held_out_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shiftaudit.tune.data.HOLDOUT_CROPS", 9)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[ImageFile]:
    return find_images(write_noise(tmp_path_factory.mktemp("images"), 12, 40, 48))[0]


def weights(model: LoadedModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.module.state_dict().items()}


@pytest.mark.parametrize("wrap", [loaded, scripted], ids=["eager", "scripted"])
def test_tuning_brings_the_copy_back_to_its_original(wrap, images: list[ImageFile]) -> None:
    # Filters of size 1 change nothing, so that a perfect recovery from the damage done to one layer exists.
    damaged = network(True, filter_size=1)
    with torch.no_grad():
        damaged.conv2.weight.add_(0.1 * torch.randn(damaged.conv2.weight.shape))
    patched, teacher = wrap(damaged), wrap(network(False))
    before = weights(patched)
    settings = replace(QUICK, steps=40, lr=4e-3, shift_views=0, roll=0.0)
    seen: list[Progress] = []
    result = tune(patched, teacher, images, settings, seen.append)
    unseen = CropSource(images, PREPROCESSING, size=SIZE, margin=0, min_scale=0.3, flip=True, seed=99)
    x = unseen.batch(0, 64).canvas
    with torch.no_grad():
        wanted = teacher(x)
        after = (result.model(x) - wanted).abs().mean()
        patched.module.load_state_dict(before)
        untrained = (patched(x) - wanted).abs().mean()
    assert after < 0.5 * untrained
    assert [progress.step for progress in seen] == list(range(1, 41))
    assert seen[0].strength == 0.0 and seen[-1].strength == 1.0
    assert result.record.best_step > 0
    assert result.record.history[0].score == result.record.patched
    assert result.record.original.agreement == 1.0


class Viewed(nn.Module):
    """Its `view` takes for granted that channels come before rows in memory."""

    def __init__(self, blurred: bool) -> None:
        super().__init__()
        self.layers = network(blurred)[:10]
        self.fc = nn.Linear(128, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layers(x)
        return self.fc(x.view(x.shape[0], -1))


@pytest.mark.parametrize("wrap", [loaded, scripted, exported], ids=["eager", "scripted", "exported"])
def test_a_network_that_needs_channels_first_is_tuned(wrap, images: list[ImageFile]) -> None:
    torch.manual_seed(0)
    original = Viewed(False)
    patched = Viewed(True)
    patched.fc.load_state_dict(original.fc.state_dict())
    assert tune(wrap(patched), wrap(original), images, replace(QUICK, steps=2, checks=1)).record.steps_done == 2


def test_what_an_exported_copy_cannot_be_tuned_with_is_said_before_it_is_trained(images: list[ImageFile]) -> None:
    patched, teacher = exported(network(True)), exported(network(False))
    with pytest.raises(InputError, match="no batch-norm statistics that can be measured anew"):
        tune(patched, teacher, images, replace(QUICK, batch_norm="reestimate"), lambda _: pytest.fail("it was trained"))
    with pytest.raises(ModelError, match="failed on a batch of shape"):
        tune(patched, teacher, images, replace(QUICK, train_size=12))


@pytest.mark.parametrize("wrap", [loaded, exported], ids=["eager", "exported"])
def test_batch_norm_statistics_stay_the_originals_and_its_weights_do_not(wrap, images: list[ImageFile]) -> None:
    patched, teacher = wrap(network(True)), wrap(network(False))
    before, original = weights(patched), weights(teacher)
    record = tune(patched, teacher, images, replace(QUICK, steps=16, patience=9)).record
    after = weights(patched)
    assert all(check.loss > 0 for check in record.history[1:])
    assert torch.equal(after["conv2.weight"], before["conv2.weight"]) is (record.best_step == 0)
    assert all(torch.equal(weights(teacher)[name], tensor) for name, tensor in original.items())
    assert all(torch.equal(after[name], before[name]) for name in before if "running" in name or "tracked" in name)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(images: list[ImageFile]) -> None:
    def run(seed: int) -> dict[str, torch.Tensor]:
        patched = loaded(network(True))
        tune(patched, loaded(network(False)), images, replace(QUICK, seed=seed, holdout=0.0))
        return weights(patched)

    first, again, other = run(1), run(1), run(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_resumed_run_ends_exactly_as_one_that_was_never_interrupted(images: list[ImageFile], tmp_path: Path) -> None:
    teacher = loaded(network(False))
    whole, halved = loaded(network(True)), loaded(network(True))
    complete = tune(whole, teacher, images, QUICK)

    class StoppedError(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.step == 5:
            raise StoppedError

    checkpoint = tmp_path / "run.ckpt"
    with pytest.raises(StoppedError):
        tune(halved, teacher, images, QUICK, stop, checkpoint=checkpoint)
    fresh = loaded(network(True))
    resumed = tune(fresh, teacher, images, QUICK, resume=checkpoint)
    assert resumed.record == complete.record
    assert all(torch.equal(weights(whole)[name], tensor) for name, tensor in weights(fresh).items())
    with pytest.raises(InputError, match="other settings: lr"):
        tune(fresh, teacher, images, replace(QUICK, lr=1.0), resume=checkpoint)


def test_the_state_that_scored_best_is_the_one_kept(images: list[ImageFile]) -> None:
    # A learning rate that wrecks the network: nothing beats the untrained copy unless it is really better.
    patched = loaded(network(True))
    result = tune(patched, loaded(network(False)), images, replace(QUICK, lr=5.0, steps=12, checks=4, patience=2))
    totals = {check.step: check.score.total for check in result.record.history}
    assert totals[result.record.best_step] == max(totals.values())
    assert result.record.tuned.total == max(totals.values())
    if result.record.stopped == "no improvement":
        assert result.record.steps_done < result.record.steps


def test_a_record_survives_json(images: list[ImageFile]) -> None:
    record = tune(loaded(network(True)), loaded(network(False)), images, QUICK).record
    again = structure(plain(record), TuneRecord, "the record")
    assert plain(again) == plain(record)
    assert record.n_images == 9 and record.n_holdout == 3 and not record.holdout_is_training_data
    assert record.taps == ("conv2", "conv3", "fc")


def test_labels_are_learned_where_the_original_is_wrong(images: list[ImageFile]) -> None:
    labels = {file.relative: 3 for file in images}
    settings = replace(QUICK, steps=60, lr=2e-2, features=0.0, smooth_features=0.0, labels=5.0)
    patched = loaded(network(True))
    record = tune(patched, loaded(network(False)), images, settings, labels=labels).record
    assert record.n_labelled == 9
    assert record.tuned.accuracy is not None and record.patched.accuracy is not None
    assert record.tuned.accuracy > record.patched.accuracy or record.patched.accuracy == 1.0


def test_minutes_become_a_number_of_steps(images: list[ImageFile]) -> None:
    settings = replace(QUICK, steps=None, minutes=0.01)
    record = tune(loaded(network(True)), loaded(network(False)), images, settings).record
    assert record.steps >= 1
    repeat = tune(loaded(network(True)), loaded(network(False)), images, replace(QUICK, steps=record.steps)).record
    assert repeat.history == record.history


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "--steps got 0"),
        ({"lr": 0.0}, "--lr got 0.0"),
        ({"holdout": 1.0}, "--holdout got 1.0"),
        ({"min_scale": 0.0}, "--min-scale got 0.0"),
        ({"strength": 1.5}, "--strength got 1.5; expected more than 0 and at most 1"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, float], message: str, images: list[ImageFile]) -> None:
    with pytest.raises(InputError, match=message):
        tune(loaded(network(True)), loaded(network(False)), images, replace(QUICK, **change))


def test_what_cannot_be_tuned_is_refused(images: list[ImageFile]) -> None:
    with pytest.raises(PatchError, match="holds no BlurPool"):
        tune(loaded(network(False)), loaded(network(False)), images, QUICK)
    with pytest.raises(ModelError, match="share no layer"):
        tune(loaded(network(True)), loaded(nn.Sequential(nn.Flatten(), nn.Linear(768, 4))), images, QUICK)
    with pytest.raises(InputError, match="batches of 2 only"):
        tune(replace(loaded(network(True)), fixed_batch=2), loaded(network(False)), images, QUICK)


def test_a_batch_depends_on_seed_and_step_alone(images: list[ImageFile]) -> None:
    def source(seed: int = 0) -> CropSource:
        return CropSource(
            images, PREPROCESSING, size=SIZE, margin=2, min_scale=0.2, flip=True, seed=seed, labels={"03.png": 1}
        )

    one, two = source(), source()
    two.batch(0, 4)  # what came before must not matter
    assert torch.equal(one.batch(7, 4).canvas, two.batch(7, 4).canvas)
    assert not torch.equal(one.batch(7, 4).canvas, one.batch(8, 4).canvas)
    assert not torch.equal(one.batch(7, 4).canvas, source(1).batch(7, 4).canvas)
    batch = one.batch(0, 64)
    assert batch.canvas.shape == (64, 3, SIZE + 4, SIZE + 4)
    assert set(batch.labels.tolist()) == {1, NO_LABEL}


def test_images_are_held_out_by_name_and_damaged_ones_left_out(images: list[ImageFile], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    files = [*images, ImageFile(broken, "broken.png")]
    train, held, skipped = split(files, 0.25, seed=0)
    assert [item.path for item in skipped] == ["broken.png"]
    assert not {file.relative for file in train} & {file.relative for file in held}
    assert len(train) == 9 and len(held) == 3
    again, held_again, _ = split(files[::-1], 0.25, seed=0)
    assert {file.relative for file in held_again} == {file.relative for file in held}
    assert len(again) == 9
    everything, same, _ = split(images[:3], 0.25, seed=0)
    assert everything is same


def test_new_batch_norm_statistics_are_kept_only_where_they_score_better(images: list[ImageFile]) -> None:
    patched, teacher = loaded(network(True)), loaded(network(False))
    before = weights(patched)
    record = tune(patched, teacher, images, replace(QUICK, batch_norm="reestimate")).record
    assert record.reestimated is not None
    best = next(check.score for check in record.history if check.step == record.best_step)
    kept = record.reestimated.total > best.total
    assert record.tuned == (record.reestimated if kept else best)
    assert torch.equal(weights(patched)["bn1.running_mean"], before["bn1.running_mean"]) is not kept


def test_one_channel_images_make_no_noise(tmp_path: Path) -> None:
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 256, (20, 20), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    grey = replace(PREPROCESSING, channels=1)

    def model(filter_size: int) -> LoadedModel:
        torch.manual_seed(0)
        pool = BlurPool(4, filter_size) if filter_size > 1 else nn.MaxPool2d(1, 2)
        layers = nn.Sequential(nn.Conv2d(1, 4, 3), pool, nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return LoadedModel.from_module(layers, grey)

    # Warnings are errors in the tests; an image read as it lies in Pillow's memory is not writable.
    assert tune(model(3), model(1), find_images(tmp_path)[0], replace(QUICK, steps=2)).record.steps_done == 2
