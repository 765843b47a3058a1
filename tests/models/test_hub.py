"""Models on the hub: what is asked for, once, and what is said where no one answers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from hf_models import SIDE, saved
from huggingface_hub import constants

from shiftaudit.errors import InputError, ModelError
from shiftaudit.models import hub, load_model
from shiftaudit.records.settings import ModelOptions


def the_hub_is(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[str]:
    asked: list[str] = []

    def model_info(_self: object, repo: str, **_options: Any) -> None:
        asked.append(repo)
        if isinstance(answer, Exception):
            raise answer

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    return asked


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("hf:org/name", "and give the folder as MODEL"),
        ("timm:hf-hub:org/name", "and give MODEL as timm:local-dir:FOLDER"),
        ("timm:resnet18.a1_in1k", "and give MODEL as timm:local-dir:FOLDER"),
    ],
)
def test_without_a_network_it_is_said_at_once_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, hint: str
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    asked = the_hub_is(monkeypatch, OSError("Name or service not known"))
    start = time.monotonic()
    with pytest.raises(ModelError, match=rf"is not in the cache: Name or service not known; .*--local-dir.* {hint}"):
        load_model(source)
    assert len(asked) == 1
    assert time.monotonic() - start < 30  # its own client takes a minute of retries
    assert not constants.HF_HUB_OFFLINE


def test_a_model_that_is_downloaded_or_cached_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = saved(tmp_path / "snapshot", "resnet")
    wanted: list[tuple[str | None, list[str]]] = []
    from_cache: list[bool] = []

    def snapshot(_repo: str, *, revision: str | None, allow_patterns: list[str], local_files_only: bool) -> str:
        wanted.append((revision, allow_patterns))
        from_cache.append(local_files_only)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    for answer in (None, OSError("no network")):
        the_hub_is(monkeypatch, answer)
        model = load_model("hf:org/name@v1")
        assert model(torch.zeros(1, 3, SIDE, SIDE)).shape == (1, 3)
        assert model.info.source == "hf:org/name@v1"
    load_model("hf:org/name", ModelOptions(weights="none"))
    assert [revision for revision, _ in wanted] == ["v1", "v1", None]
    assert from_cache == [False, True, True]
    assert not any("bin" in pattern for _, patterns in wanted for pattern in patterns)
    assert wanted[2][1] == ["config.json", "preprocessor_config.json"]


def test_a_name_that_the_hub_does_not_have_is_an_error_of_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing(huggingface_hub.errors.RepositoryNotFoundError):
        def __init__(self) -> None:
            Exception.__init__(self, "404")

    the_hub_is(monkeypatch, Missing())
    with pytest.raises(InputError, match="the hub has no model org/name, or it is private"):
        hub.fetch("org/name", None, weights=True, trust=False)
    monkeypatch.undo()
    with pytest.raises(InputError, match="is no name of a model on the hub; expected ORG/NAME"):
        load_model("hf:a/b/c")
