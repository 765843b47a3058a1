"""A sample of the sweep of public networks: timm's smallest, one of a family."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
from cli_run import script_module

pytest.importorskip("timm")

IN_ALL_FORMS = ("test_byobnet", "test_efficientnet", "test_resnet")
IN_TWO = ("test_convnext", "test_mambaout", "test_nfnet", "test_vit")
AS_IT_IS = ("coat_tiny", "dla46x_c", "edgenext_xx_small", "efficientvit_m0", "pvt_v2_b0", "starnet_s050", "tresnet_m")
"""One each of families whose strides, names or filters once were wrong, or that are written in a way of their own."""


@pytest.fixture(scope="module")
def zoo() -> ModuleType:
    return script_module("zoo")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("names", "n_forms"), [(IN_ALL_FORMS, 5), (IN_TWO, 2), (AS_IT_IS, 1)])
def test_a_small_network_of_every_kind_is_the_same_in_its_forms(
    zoo: ModuleType, names: tuple[str, ...], n_forms: int
) -> None:
    if n_forms == len(zoo.FORMS):
        pytest.importorskip("onnxruntime")
    for name in names:
        row = zoo.examine(f"timm:{name}", zoo.FORMS[:n_forms])
        assert row["forms"] == dict.fromkeys(zoo.FORMS[:n_forms], "same"), name
        assert row["stages"] > 0
        assert row["implausible"] == []
        assert max(row["stride"]) <= 64


def test_rows_of_two_sweeps_are_put_together_and_every_family_has_its_line(
    zoo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {
        "name": "timm:resnet18",
        "size": 128,
        "stages": 8,
        "stride": [32, 32],
        "implausible": [],
        "forms": {"eager": "same"},
    }
    other = row | {"name": "timm:resnet26", "forms": {"eager": "refused: too deep"}}
    ended = {"name": "timm:vgg11", "forms": {}, "note": "took too long"}
    later = row | {"forms": {"traced": "same"}}
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(one) + "\n" for one in (row, other, ended, later)))
    monkeypatch.setattr(zoo, "PAGE", tmp_path / "zoo.md")
    zoo.write(rows)
    page = (tmp_path / "zoo.md").read_text()
    assert "| eager | 2 | 1 | 1 | 0 | 0 | 0 |" in page
    assert "| timm resnet | resnet18, resnet26 | 8 | 32 | same 1, refused 1 | same |" in page
    assert "- timm:resnet26 (eager): refused: too deep" in page
    assert "Not in the table: timm:vgg11 (took too long)." in page
