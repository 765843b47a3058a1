"""`score model.onnx`: the runtime's answers, the network's stages, and files that are not what they seem."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from networks import Residual, loaded, preprocessing, seeded, write_images
from onnx_files import EXPORTERS, answers, exported, model_of, saved

import shiftaudit
from shiftaudit.errors import InputError, ModelError
from shiftaudit.models import LoadedModel, load_model
from shiftaudit.records.report import AuditReport
from shiftaudit.records.settings import ModelOptions, Settings
from shiftaudit.stages.find import discover

QUICK = Settings(shifts="3", max_shift=4, workers=0, damage=2)
OPTIONS = ModelOptions(size=16, resize=20, mean=(0.5,), std=(0.25,))
FLOAT = onnx.TensorProto.FLOAT


def residual() -> torch.nn.Module:
    return seeded(Residual())


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("onnx") / "images", n=3)


@pytest.fixture(scope="module")
def wanted(images: Path) -> AuditReport:
    return shiftaudit.score(loaded(residual()), images, QUICK)


@pytest.mark.parametrize("how", EXPORTERS)
def test_a_file_gets_the_report_of_its_network(how: str, images: Path, wanted: AuditReport, tmp_path: Path) -> None:
    model = load_model(str(saved(tmp_path / "net.onnx", exported(residual, how))), OPTIONS)
    report = shiftaudit.score(model, images, QUICK)
    assert (report.model.kind, model.fixed_batch) == ("onnx", 1)
    for image, other in zip(report.per_image, wanted.per_image, strict=True):
        for protocol, views in image.views.items():
            assert views.predictions == other.views[protocol].predictions
            assert views.probabilities == pytest.approx(other.views[protocol].probabilities, abs=1e-5)
    assert len(report.stages) == len(wanted.stages) == 4
    for stage, other in zip(report.stages, wanted.stages, strict=True):
        assert (stage.op, stage.stride, stage.input_size, stage.output_size, stage.channels, stage.fits) == (
            other.op, other.stride, other.input_size, other.output_size, other.channels, other.fits,
        )  # fmt: skip
        for protocol, errors in stage.errors.items():
            assert errors.input.value == pytest.approx(other.errors[protocol].input.value, abs=1e-4)
            assert errors.output.value == pytest.approx(other.errors[protocol].output.value, abs=1e-4)
        assert stage.damage is not None
        assert other.damage is not None
        assert stage.damage.variation.value == pytest.approx(other.damage.variation.value, abs=1e-4)


def test_answers_are_the_runtimes_and_maps_the_programs(tmp_path: Path) -> None:
    data = exported(residual, "torchscript")
    model = load_model(str(saved(tmp_path / "net.onnx", data)), OPTIONS)
    image = torch.randn(1, 3, 16, 16)
    np.testing.assert_array_equal(model.answering()(image).numpy(), answers(data, image)[0])
    assert model.answering().unseen is not None
    assert model.unseen is None
    names = [stage.name for stage in discover(model, model.module, image).stages]
    assert names == ["/stem/Conv", "/pool/MaxPool", "/branch/Conv", "/shortcut/Conv"]


def test_another_size_than_the_files_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.onnx", exported(residual, "torchscript"))
    assert load_model(str(path)).preprocessing.size == 16
    with pytest.raises(InputError, match="takes images of 16×16, and --size says 32"):
        load_model(str(path), ModelOptions(size=32))


def test_half_precision_is_scored(tmp_path: Path) -> None:
    path = saved(tmp_path / "half.onnx", exported(residual, "torchscript", half=True))
    model = load_model(str(path), OPTIONS)
    image = torch.randn(1, 3, 16, 16)
    assert model.unseen is None
    torch.testing.assert_close(model.answering()(image), loaded(residual())(image), rtol=0.05, atol=0.05)


# --- models by hand ----------------------------------------------------------------------------------------------------


def small(*, op: str = "Relu", domain: str = "", name: str = "act", **attributes: object) -> onnx.ModelProto:
    """A strided convolution, one other operation, and the mean over each channel."""
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["image", "weight"], ["map"], name="conv", strides=[2, 2]),
        make(op, ["map"], ["mapped"], name=name, domain=domain, **attributes),
        make("GlobalAveragePool", ["mapped"], ["mean"], name="pool"),
        make("Flatten", ["mean"], ["logits"], name="flat"),
    ]
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    return model_of(nodes, [("image", FLOAT, ("n", 3, 16, 16))], ["logits"], {"weight": weight})


def load(folder: Path, model: onnx.ModelProto) -> LoadedModel:
    return load_model(str(saved(folder / "net.onnx", model)), OPTIONS)


def test_a_file_with_an_operation_that_is_not_read_is_scored_for_its_answers(images: Path, tmp_path: Path) -> None:
    model = load(tmp_path, small(op="QuickGelu", domain="com.microsoft"))
    report = shiftaudit.score(model, images, QUICK)
    assert report.protocols["circular"].metrics["consistency"].value is not None
    assert [str(stage) for stage in report.skipped_stages] == [
        "its stages: feature maps cannot be seen: operation com.microsoft.QuickGelu (node act) is not one that is read"
    ]
    assert shiftaudit.survey(model).patch_note == report.skipped_stages[0].reason


@pytest.mark.parametrize("name", ['x"); raise SystemExit(3)  #', "if", "training", "forward", "a..b", "conv.weight"])
def test_names_are_data(name: str, tmp_path: Path) -> None:
    model = load(tmp_path, small(name=name))
    assert model.unseen is None
    image = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(model(image), model.answering()(image))


@pytest.mark.parametrize("place", ["../weights.bin", "/etc/hostname", "there/weights.bin", "link.bin"])
def test_weights_are_read_from_the_files_own_folder_alone(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    model = small()
    tensor = model.graph.initializer[0]
    (tmp_path / "weights.bin").write_bytes(tensor.raw_data)
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    onnx.external_data_helper.set_external_data(tensor, place)
    tensor.ClearField("raw_data")
    with pytest.raises(InputError, match="outside its own folder" if "there" not in place else "is not there"):
        load(folder, model)


def test_weights_beside_the_file_are_read_and_hashed(tmp_path: Path) -> None:
    model = small()
    path = tmp_path / "net.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="net.bin", size_threshold=0)
    first = load_model(str(path), OPTIONS)
    assert first.unseen is None
    weights = (tmp_path / "net.bin").read_bytes()
    (tmp_path / "net.bin").write_bytes(bytes(len(weights)))
    assert load_model(str(path), OPTIONS).info.sha256 != first.info.sha256


def test_files_that_cannot_be_scored_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="damaged ONNX file"):
        load_model(str(saved(tmp_path / "net.onnx", b"\x08\x07nonsense")))
    with pytest.raises(ModelError, match="no ONNX model, or an empty one"):
        load_model(str(saved(tmp_path / "net.onnx", onnx.ModelProto(ir_version=8))))
    last = model_of([onnx.helper.make_node("Relu", ["image"], ["out"])], [("image", FLOAT, (1, 16, 16, 3))], ["out"])
    with pytest.raises(InputError, match="expected 1 or 3 channels") as refused:
        load(tmp_path, last)
    assert refused.value.hint == "its channels come last: export it with channels first, or wrap it in a runner"
    with pytest.raises(InputError, match="holds its own network"):
        load_model(str(saved(tmp_path / "net.onnx", small())), ModelOptions(arch="resnet18"))
    with pytest.raises(ModelError, match="takes 2 inputs"):
        load(
            tmp_path,
            model_of(
                [onnx.helper.make_node("Add", ["a", "b"], ["out"])],
                [("a", FLOAT, (1, 3, 4, 4)), ("b", FLOAT, (1, 3, 4, 4))],
                ["out"],
            ),
        )


def test_several_outputs_are_told_apart_by_name(tmp_path: Path) -> None:
    model = small()
    model.graph.output.insert(0, onnx.helper.make_tensor_value_info("mapped", FLOAT, ("n", 4, 7, 7)))
    path = saved(tmp_path / "net.onnx", model)
    one = load_model(str(path), ModelOptions(size=16, output="logits"))
    image = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(one(image), one.answering()(image))
    assert one(image).shape == (2, 4)


def test_compiling_is_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no PyTorch network"):
        shiftaudit.score(load(tmp_path, small()), images, Settings(compile=True))


def test_the_report_of_grey_images_keeps_its_preset(tmp_path: Path) -> None:
    weight = np.ones((2, 1, 3, 3), dtype=np.float32)
    make = onnx.helper.make_node
    nodes = [make("Conv", ["image", "w"], ["map"]), make("ReduceMean", ["map", "axes"], ["out"], keepdims=0)]
    stored = {"w": weight, "axes": np.array([2, 3])}
    model = load(tmp_path, model_of(nodes, [("image", FLOAT, ("n", 1, 16, 16))], ["out"], stored))
    assert model.preprocessing.channels == preprocessing(channels=1).channels == 1
