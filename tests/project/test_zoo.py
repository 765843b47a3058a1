"""A sample of the sweep of public networks: timm's smallest, one of a family."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("timm")

ZOO = Path(__file__).parents[2] / "scripts" / "zoo.py"
SAMPLE = ("test_byobnet", "test_convnext", "test_efficientnet", "test_resnet", "test_mambaout")


@pytest.fixture(scope="module")
def zoo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("zoo", ZOO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAMPLE)
def test_a_small_network_of_every_kind_is_the_same_in_its_forms(zoo: ModuleType, name: str) -> None:
    row = zoo.examine(f"timm:{name}", ("eager", "traced"))
    assert row["forms"] == {"eager": "same", "traced": "same"}
    assert row["stages"] > 0
    assert row["implausible"] == []
