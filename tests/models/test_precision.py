"""Fewer bits and compiled networks: only on request, said in the report, and about the same numbers."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import Residual, loaded, seeded, write_images

from shiftaudit.audit.audit import Audit, audit
from shiftaudit.audit.run import run
from shiftaudit.audit.shards import merge
from shiftaudit.errors import InputError
from shiftaudit.images.find import find_images
from shiftaudit.records.report import AuditReport
from shiftaudit.records.settings import RunOptions, Settings, Shard
from shiftaudit.stages.standard import Spread


def report(folder: Path, **settings: Any) -> AuditReport:
    files = find_images(folder)[0]
    return audit(loaded(seeded(Residual())), files, Settings(shifts="4", max_shift=2, workers=0, **settings))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", n=4)


def assert_about_equal(ours: AuditReport, theirs: AuditReport, tolerance: float) -> None:
    assert [stage.name for stage in ours.stages] == [stage.name for stage in theirs.stages]
    for a, b in zip(ours.stages, theirs.stages, strict=True):
        for protocol, errors in b.errors.items():
            assert a.errors[protocol].output.value == pytest.approx(errors.output.value, abs=tolerance)
    for name, result in theirs.protocols.items():
        change = ours.protocols[name].metrics["mean_abs_change"].value
        assert change == pytest.approx(result.metrics["mean_abs_change"].value, abs=tolerance)


def test_autocast_is_stated_and_changes_little(folder: Path) -> None:
    plain, short = report(folder), report(folder, autocast=True)
    assert plain.environment.precision == "float32"
    assert short.environment.precision == "autocast to bfloat16"
    assert short.per_image != plain.per_image
    assert_about_equal(short, plain, 0.02)


def test_feature_maps_are_compared_in_full_precision(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    distance = Spread.distance

    def watched(spread: Spread, difference: torch.Tensor) -> float:
        seen.append((torch.is_autocast_enabled("cpu"), difference.dtype))
        return distance(spread, difference)

    monkeypatch.setattr(Spread, "distance", watched)
    report(folder, autocast=True)
    assert set(seen) == {(False, torch.float32)}


def test_a_compiled_network_gives_the_same_numbers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    torch_compile = functools.partial(torch.compile, backend="eager")

    def traced(module: torch.nn.Module) -> Any:
        made.append(module)
        # Without the code generator, which takes most of a minute.
        return torch_compile(module)

    plain = report(folder)
    with monkeypatch.context() as patched:
        patched.setattr("shiftaudit.models.fast.torch.compile", traced)
        fast = report(folder, compile=True)
    assert len(made) == 1
    assert_about_equal(fast, plain, 1e-5)


def test_a_script_cannot_be_compiled(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = loaded(torch.jit.script(seeded(Residual())))
    with pytest.raises(InputError, match="--compile got a TorchScript model"):
        audit(model, find_images(folder)[0], Settings(compile=True, workers=0))


def test_rows_of_another_precision_are_neither_resumed_nor_merged(folder: Path, tmp_path: Path) -> None:
    files = find_images(folder)[0]
    settings = {
        short: Settings(shifts="2", max_shift=2, workers=0, stages=False, autocast=short) for short in (False, True)
    }
    audits = {short: Audit(loaded(seeded(Residual())), settings[short]) for short in settings}
    parts = [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    run(audits[False], files, {}, (), RunOptions(parts[0], shard=Shard(1, 2)))
    with pytest.raises(InputError, match="was computed in float32, this run in autocast to bfloat16"):
        run(audits[True], files, {}, (), RunOptions(parts[0], resume=True, shard=Shard(1, 2)))
    run(audits[True], files, {}, (), RunOptions(parts[1], shard=Shard(2, 2)))
    with pytest.raises(InputError, match="their precision differs"):
        merge(parts)
