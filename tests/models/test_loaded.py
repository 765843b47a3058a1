"""A loaded model answers with float logits, whatever its network returns, prints, insists on or raises."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import loaded
from torch import Tensor, nn

from shiftaudit.errors import InputError, ModelError, ShiftAuditError
from shiftaudit.models import LoadedModel, ModelOptions, load_model
from shiftaudit.models.loaded import last_line

BATCH = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LOGITS = torch.rand(3, 5, generator=torch.Generator().manual_seed(1))
MAPS = torch.zeros(3, 5, 8, 8)
Fields = namedtuple("Fields", ["features", "logits"])


@dataclass
class Record:
    features: Tensor
    out: Tensor


class Returns(nn.Module):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Any:
        return self.value


def call(value: Any, output: str | None = None) -> Tensor:
    model = loaded(Returns(value))
    return LoadedModel(model.module, model.info, output=output)(BATCH)


@pytest.mark.parametrize(
    "value",
    [
        LOGITS,
        LOGITS[:, :, None, None],
        LOGITS.double(),
        (LOGITS, LOGITS + 1),
        [None, LOGITS],
        (MAPS, LOGITS),
        (LOGITS.argmax(-1), LOGITS),
        (LOGITS.argsort(), LOGITS),
        {"embedding": LOGITS + 1, "logits": LOGITS},
        {"embedding": LOGITS + 1, "out": LOGITS},
        {"loss": None, "scores": LOGITS},
        Fields(MAPS, LOGITS),
        Record(MAPS, LOGITS),
    ],
)
def test_logits_are_found_in_what_the_network_returns(value: Any) -> None:
    logits = call(value)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, LOGITS)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({"logits": LOGITS + 1, "other": LOGITS}, "other"),
        ((LOGITS + 1, LOGITS), "1"),
        (Fields(LOGITS, LOGITS + 1), "features"),
        (Fields(LOGITS, LOGITS + 1), "0"),
    ],
)
def test_an_output_may_be_chosen_by_name_or_position(value: Any, key: str) -> None:
    torch.testing.assert_close(call(value, key), LOGITS)


@pytest.mark.parametrize(
    ("value", "key", "words"),
    [
        (MAPS, None, "returned (3, 5, 8, 8) for a batch of 3; expected logits (3, classes)"),
        ({"out": MAPS, "aux": LOGITS}, None, "returned (3, 5, 8, 8)"),
        (LOGITS[:2], None, "returned (2, 5) for a batch of 3"),
        (LOGITS[:, :1], None, "returned (3, 1)"),
        (LOGITS.argmax(-1), None, "returned (3,)"),
        (None, None, "returned NoneType"),
        ("logits", None, "returned str"),
        ((MAPS, MAPS), None, "returned (3, 5, 8, 8) and (3, 5, 8, 8)"),
        ({"a": LOGITS, "b": LOGITS}, "c", "--output got 'c'; the model returns a, b"),
        (LOGITS, "logits", "the model returns a single tensor"),
    ],
)
def test_anything_else_is_refused_saying_what_came(value: Any, key: str | None, words: str) -> None:
    with pytest.raises(ShiftAuditError) as caught:
        call(value, key)
    assert words in str(caught.value)


def test_half_precision_networks_get_half_precision_images() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    half = loaded(network.to(torch.bfloat16))(BATCH)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, network.float()(BATCH), atol=0.02, rtol=0.02)


class FlatHead(nn.Module):
    """Bound to its size, and once traced to its batch."""

    def __init__(self, side: int, channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 1)
        self.head = nn.Linear(4 * side * side, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).view(int(x.shape[0]), -1))


def traced(module: nn.Module, example: Tensor, path: Path) -> str:
    with pytest.warns(torch.jit.TracerWarning):
        program = torch.jit.trace(module.eval(), example)
    torch.jit.save(program, path)
    return str(path)


@pytest.mark.parametrize("batch", [1, 2, 4, 16])
def test_a_file_bound_to_its_batch_takes_any_number_of_images(tmp_path: Path, batch: int) -> None:
    module = FlatHead(8).eval()
    source = traced(module, torch.zeros(batch, 3, 8, 8), tmp_path / "model.pt")
    model = load_model(source, ModelOptions(size=8))
    assert model.fixed_batch == batch
    for n in (1, 3, batch, 2 * batch + 1):
        images = torch.rand(n, 3, 8, 8)
        torch.testing.assert_close(model(images), module(images))


def test_a_free_batch_is_not_taken_for_a_fixed_one(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    torch.jit.save(torch.jit.trace(network.eval(), BATCH), tmp_path / "model.pt")
    assert load_model(str(tmp_path / "model.pt"), ModelOptions(size=8)).fixed_batch is None


@pytest.mark.parametrize(
    ("side", "channels", "freeze", "words"),
    [
        (32, 3, False, "try --size 32"),
        (28, 1, False, "try --size 28"),
        (28, 1, True, "try --size 28 --channels 1"),
        (224, 1, True, "try --channels 1"),
    ],
)
def test_a_file_that_takes_other_images_says_which(
    tmp_path: Path, side: int, channels: int, freeze: bool, words: str
) -> None:
    program = torch.jit.script(FlatHead(side, channels).eval())
    torch.jit.save(torch.jit.freeze(program) if freeze else program, tmp_path / "model.pt")
    with pytest.raises(ModelError) as caught:
        load_model(str(tmp_path / "model.pt"))
    message = str(caught.value)
    assert message.startswith("the model failed on a batch of shape (2, ")
    assert message.endswith(words)
    assert "\n" not in message


def test_the_channels_of_a_grey_network_are_seen(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(FlatHead(28, 1).eval()), tmp_path / "model.pt")
    used = load_model(str(tmp_path / "model.pt"), ModelOptions(size=28)).preprocessing
    assert (used.channels, used.mean, used.std, used.source) == (1, (0.449,), (0.226,), "options and imagenet preset")


class Raises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyError("broken")


def test_a_network_that_raises_says_where_and_what() -> None:
    with pytest.raises(ModelError) as caught:
        loaded(Raises())(BATCH)
    assert "failed on a batch of shape (3, 3, 8, 8): KeyError: 'broken'" in str(caught.value)


class Exits(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise SystemExit(0)


def test_a_network_that_exits_is_a_failure_and_no_success() -> None:
    with pytest.raises(ModelError, match=r"failed on a batch of shape \(3, 3, 8, 8\): SystemExit: 0"):
        loaded(Exits())(BATCH)


def test_lazy_layers_that_never_ran_are_refused() -> None:
    with pytest.raises(InputError, match="Sequential has lazy layers without weights; run it once"):
        LoadedModel.from_module(nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2)))


def test_the_last_line_of_a_torchscript_error_is_the_one_that_counts() -> None:
    program = torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(4, 5)))
    with pytest.raises(Exception, match="shapes cannot be multiplied") as caught:
        program(torch.zeros(2, 7))
    assert last_line(caught.value) == "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x7 and 4x5)"


def test_the_last_line_of_an_empty_error_is_still_a_line() -> None:
    assert last_line(ValueError()) == "(no message)"


class Prints(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        print("inside the network")  # noqa: T201
        return x.mean((2, 3))


def test_prints_of_a_network_are_no_results(capsys: pytest.CaptureFixture[str]) -> None:
    loaded(Prints())(BATCH)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "inside the network" in captured.err


def test_a_module_that_cannot_be_copied_is_refused() -> None:
    module = nn.Linear(2, 2)
    module.lock = __import__("threading").Lock()  # type: ignore[assignment]
    with pytest.raises(InputError, match="Linear cannot be copied"):
        LoadedModel.from_module(module)


def test_something_else_than_a_module_is_refused() -> None:
    with pytest.raises(InputError, match=r"expected an nn\.Module, got int"):
        LoadedModel.from_module(3)  # type: ignore[arg-type]
