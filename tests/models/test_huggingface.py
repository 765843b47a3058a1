"""Hugging Face classifiers from folders: what they answer, what is known of them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers as hf
from hf_models import LABELS, SIDE, network_of, saved
from image_files import noise, save
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shiftaudit.audit.api import score
from shiftaudit.errors import InputError, ModelError
from shiftaudit.models import load_model
from shiftaudit.models.source import check_source, weights_not_needed
from shiftaudit.records.settings import ModelOptions, Settings


def a_batch() -> Tensor:
    return torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    processor = hf.ConvNextImageProcessor(size={"shortest_edge": SIDE}, crop_pct=0.875)
    return saved(tmp_path_factory.mktemp("hub") / "tiny-resnet", "resnet", processor)


@pytest.mark.parametrize("form", ["{}", "hf:{}"])
def test_a_folder_answers_as_its_network_and_says_what_it_is(folder: Path, form: str) -> None:
    model = load_model(form.format(folder))
    with torch.no_grad():
        assert torch.equal(model(a_batch()), network_of("resnet")(a_batch()).logits)
    assert model.info.kind == "hf"
    assert (model.info.arch, model.info.weights) == ("ResNetForImageClassification", "model.safetensors")
    assert model.class_names == tuple(LABELS.values())
    assert (model.preprocessing.size, model.preprocessing.resize, model.preprocessing.source) == (64, 73, "processor")
    assert not model.preprocessing.guessed
    assert load_model(str(folder)).info.source == "tiny-resnet"
    assert model.module.state_dict().keys() == network_of("resnet").state_dict().keys()


def test_a_folder_is_scored_like_any_model(folder: Path, tmp_path: Path) -> None:
    for number in range(2):
        save(tmp_path / f"{number}.png", noise(80, 90, seed=number))
    report = score(str(folder), tmp_path, Settings(shifts="2", workers=0))
    assert [stage.name for stage in report.stages][:2] == [
        "resnet.embedder.embedder.convolution",
        "resnet.embedder.pooler",
    ]
    assert report.class_names == tuple(LABELS.values())


def test_blue_first_networks_are_given_red_first(tmp_path: Path) -> None:
    processor = hf.MobileViTImageProcessor(size={"shortest_edge": 72}, crop_size={"height": SIDE, "width": SIDE})
    model = load_model(str(saved(tmp_path / "m", "mobilevit", processor)))
    with torch.no_grad():
        assert torch.equal(model(a_batch()), network_of("mobilevit")(a_batch().flip(1)).logits)
    assert (model.preprocessing.mean, model.preprocessing.std) == ((0, 0, 0), (1, 1, 1))


def test_without_a_processor_the_preprocessing_is_a_guess_of_the_network_s_size(tmp_path: Path) -> None:
    model = load_model(str(saved(tmp_path / "m", "vit")))
    assert (model.preprocessing.size, model.preprocessing.guessed) == (SIDE, True)


def test_names_that_the_library_made_up_are_none(tmp_path: Path) -> None:
    made_up = {index: f"LABEL_{index}" for index in range(3)}
    assert load_model(str(saved(tmp_path / "m", "resnet", id2label=made_up, label2id={}))).class_names is None


def test_random_weights_and_weights_from_a_file(folder: Path, tmp_path: Path) -> None:
    options = ModelOptions(weights="none", seed=1)
    random = load_model(str(folder), options)
    assert random.info.weights == "none (seed 1)"
    assert random.info.sha256 == load_model(str(folder), options).info.sha256
    assert random.info.sha256 != load_model(str(folder)).info.sha256
    save_file(load_file(folder / "model.safetensors"), tmp_path / "mine.safetensors")
    filled = load_model(f"hf:{folder}", ModelOptions(weights=str(tmp_path / "mine.safetensors")))
    assert filled.info.sha256 == load_model(str(folder)).info.sha256
    with pytest.raises(InputError, match="takes DEFAULT, none or a file"):
        load_model(str(folder), ModelOptions(weights="IMAGENET1K_V1"))
    assert [weights_not_needed(name) for name in ("hf:a/b", str(folder))] == ["none", "none"]


def test_pickled_weights_are_refused_unless_they_are_trusted(tmp_path: Path) -> None:
    place = saved(tmp_path / "m", "resnet")
    torch.save(load_file(place / "model.safetensors"), place / "pytorch_model.bin")
    (place / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no model.safetensors, and loading weights that are pickled .*--trust"):
        load_model(str(place))
    with torch.no_grad():
        answers = load_model(str(place), ModelOptions(trust=True))(a_batch())
        assert torch.equal(answers, network_of("resnet")(a_batch()).logits)


def test_a_network_without_its_head_is_not_scored_with_a_random_one(tmp_path: Path) -> None:
    place = saved(tmp_path / "m", "resnet")
    tensors = load_file(place / "model.safetensors")
    headless = {name: tensor for name, tensor in tensors.items() if "classifier" not in name}
    save_file(headless, place / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"holds no weights for 2 tensors of a classifier, classifier.1.bias first"):
        load_model(str(place))


def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"auto_map": {"AutoConfig": "own.Config"}, "model_type": "own"}))
    (tmp_path / "own.py").write_text("raise SystemExit('ran')")
    for options in (ModelOptions(), ModelOptions(trust=True)):
        with pytest.raises(InputError, match="brings code of its own, which is not run"):
            load_model(str(tmp_path), options)


def test_what_is_no_image_classifier_or_no_model_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    for text, expected in {
        '{"model_type": "bert", "architectures": ["BertForMaskedLM"]}': "is no image classifier, but BertForMaskedLM",
        "{": r"config.json cannot be read: Expecting property name",
        "[]": "config.json holds no configuration",
        "{}": "the configuration of .* cannot be used",
    }.items():
        config.write_text(text)
        with pytest.raises((InputError, ModelError), match=expected):
            load_model(str(tmp_path))
    config.unlink()
    with pytest.raises(InputError, match="is a folder; expected a model"):
        load_model(str(tmp_path))
    check_source("hf:org/name", ModelOptions())


def test_a_folder_in_timm_s_layout_is_timm_s(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    network: nn.Module = timm.create_model("resnet10t", num_classes=2).eval()
    timm.models.save_for_hf(network, tmp_path, model_config={"label_names": ["a", "b"]}, safe_serialization=True)
    for source in (str(tmp_path), f"timm:local-dir:{tmp_path}"):
        model = load_model(source)
        assert model.class_names == ("a", "b")
        with torch.no_grad():
            assert torch.allclose(model(a_batch()), network(a_batch()), atol=1e-6)
