"""Whatever answers images is audited for its answers, whether or not it is a PyTorch network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_run import InProcess
from networks import Residual, loaded, preprocessing, seeded, write_images

import shiftaudit
from shiftaudit.errors import InputError, ModelError, PatchError
from shiftaudit.models import LoadedModel, load_model
from shiftaudit.records.settings import ModelOptions, Settings

QUICK = Settings(shifts="3", max_shift=4, workers=0)
RUNNER = """
import numpy as np

class Engine:
    name = "engine 3"
    classes = ["dark", "bright"]

    def run(self, images):
        assert images.dtype == np.float32 and images.flags["C_CONTIGUOUS"]
        level = images.mean(axis=(1, 2, 3))
        return np.stack([-level, level], axis=1)

ready = Engine()

def build():
    return Engine()
"""


class Network:
    """The answers of a PyTorch network, as a runtime of another kind would give them."""

    def __init__(self) -> None:
        self.module = seeded(Residual())
        self.sizes: list[int] = []

    def run(self, images: np.ndarray) -> Any:
        self.sizes.append(len(images))
        with torch.inference_mode():
            return self.module(torch.from_numpy(images)).numpy()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", n=3)


def test_a_runner_gets_the_report_of_its_network_but_for_the_stages(images: Path) -> None:
    runner = Network()
    report = shiftaudit.score(runner, images, QUICK, preprocessing=preprocessing())
    wanted = shiftaudit.score(loaded(runner.module), images, QUICK)
    for image, other in zip(report.per_image, wanted.per_image, strict=True):
        assert {name: views.predictions for name, views in image.views.items()} == {
            name: views.predictions for name, views in other.views.items()
        }
        assert image.probability == pytest.approx(other.probability, abs=1e-5)
    assert (report.stages, report.levels, report.cause) == ((), (), None)
    assert [str(stage) for stage in report.skipped_stages] == [
        "its stages: the model gives answers alone; feature maps cannot be seen"
    ]
    assert (report.model.kind, report.model.sha256, report.model.arch) == ("runner", None, "Network")
    assert "Not measured: its stages: the model gives answers alone" in shiftaudit.format_report(report, "table")


def test_batches_are_filled_up_to_the_size_a_runner_takes(images: Path) -> None:
    runner = Network()
    runner.batch_size = 4  # type: ignore[attr-defined]
    report = shiftaudit.score(runner, images, QUICK, preprocessing=preprocessing())
    assert set(runner.sizes) == {4}
    wanted = shiftaudit.score(loaded(runner.module), images, QUICK)
    assert [image.prediction for image in report.per_image] == [image.prediction for image in wanted.per_image]


@pytest.mark.parametrize("which", ["build", "ready"])
def test_an_import_string_may_give_or_name_a_runner(
    which: str, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = InProcess(images.parent, monkeypatch, capsys)
    (images.parent / "own_engine.py").write_text(RUNNER)
    model = load_model(f"own_engine:{which}", ModelOptions(size=16))
    assert (model.info.kind, model.info.arch, model.class_names) == ("runner", "engine 3", ("dark", "bright"))
    code, out, _ = run("stages", f"own_engine:{which}")
    assert (code, "its stages cannot be seen" in out, "answers alone" in out) == (0, True, True)
    quick = ("--size", 16, "--shifts", 2, "--workers", 0, "-q")
    assert run("score", f"own_engine:{which}", "images", "-o", "report.json", *quick)[0] == 0
    assert run("baseline", "save", "report.json", "-o", "base.json")[0] == 0
    code, out, err = run("gate", f"own_engine:{which}", "images", "--baseline", "base.json", "--size", 16, "-q")
    assert code == 0, out + err
    assert run("compare", "report.json", "report.json")[0] == 0
    code, out, err = run("show", f"own_engine:{which}", "images/00.png", "--size", 16, "--step", 1)
    assert (code, "bright" in out or "dark" in out) == (0, True), err


def test_there_is_nothing_to_patch_in_a_runner() -> None:
    module = LoadedModel.from_runner(Network()).module
    with pytest.raises(PatchError, match="answers alone"):
        shiftaudit.patch(module, input_size=16)


def test_compiling_a_runner_is_refused(images: Path) -> None:
    with pytest.raises(InputError, match="no PyTorch network"):
        shiftaudit.score(Network(), images, replace(QUICK, compile=True), preprocessing=preprocessing())


class _Odd:
    def __init__(self, out: Any, **attributes: Any) -> None:
        self.out = out
        vars(self).update(attributes)

    def run(self, images: np.ndarray) -> Any:
        return self.out(len(images))


def test_several_outputs_may_be_a_dict_or_a_tuple() -> None:
    named = _Odd(lambda n: {"features": np.zeros((n, 4, 2, 2)), "logits": np.ones((n, 3))})
    assert LoadedModel.from_runner(named)(torch.zeros(2, 3, 4, 4)).tolist() == [[1.0] * 3] * 2
    model = replace(LoadedModel.from_runner(_Odd(lambda n: (np.zeros((n, 2)), np.ones((n, 2))))), output="1")
    assert model(torch.zeros(2, 3, 4, 4)).tolist() == [[1.0, 1.0]] * 2


@pytest.mark.parametrize(
    ("attributes", "message"), [({"classes": "ab"}, "are no names"), ({"batch_size": 0}, "positive whole number")]
)
def test_attributes_that_cannot_be_used_are_told(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LoadedModel.from_runner(_Odd(lambda n: np.zeros((n, 2)), **attributes))


def test_a_runner_that_returns_no_logits_or_fails_is_named() -> None:
    with pytest.raises(ModelError, match=r"returned \(2,\)"):
        LoadedModel.from_runner(_Odd(np.zeros))(torch.zeros(2, 3, 4, 4))
    with pytest.raises(ModelError, match="ZeroDivisionError"):
        LoadedModel.from_runner(_Odd(lambda n: 1 // 0))(torch.zeros(2, 3, 4, 4))
