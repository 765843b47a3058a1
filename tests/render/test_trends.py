"""What dashboards and model cards read."""

from __future__ import annotations

import json

import pytest
from report_builder import make_report

import shiftaudit

yaml = pytest.importorskip("yaml")
REPORT = make_report(50, source='odd "name": {x}.pt')


def test_a_dashboard_gets_shares_of_which_more_is_better() -> None:
    entries = {entry["name"]: entry for entry in json.loads(shiftaudit.format_report(REPORT, "github-benchmark"))}
    consistency = REPORT.protocols["crop"].metrics["consistency"]
    assert entries["crop.consistency"]["value"] == pytest.approx(100 * consistency.value, abs=1e-2)
    assert entries["crop.consistency"]["unit"] == "%"
    assert "accuracy" in entries
    assert not [name for name in entries if "change" in name or "flips" in name or "divergence" in name]


def test_a_dashboard_gets_what_a_gate_judged() -> None:
    entries = json.loads(shiftaudit.format_report(shiftaudit.judge(REPORT, REPORT), "github-benchmark"))
    assert "crop.consistency" in [entry["name"] for entry in entries]
    assert all(0 <= entry["value"] <= 100 for entry in entries)


def test_a_model_card_s_block_is_yaml_and_holds_the_measures() -> None:
    text = shiftaudit.format_report(REPORT, "model-card")
    assert text.startswith("---\n")
    assert text.endswith("\n---\n")
    [model] = yaml.safe_load(text.strip("-\n"))["model-index"]
    assert model["name"] == 'odd "name": {x}.pt'
    [result] = model["results"]
    assert result["task"]["type"] == "image-classification"
    values = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert values["consistency under crop shifts"] == pytest.approx(
        REPORT.protocols["crop"].metrics["consistency"].value, abs=1e-5
    )
