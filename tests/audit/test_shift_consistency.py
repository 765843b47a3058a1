"""The metric for validation loops against the audit, and as a metric among others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

import shiftaudit
from shiftaudit import ShiftConsistency, sample
from shiftaudit.images.decode import decode
from shiftaudit.views.shifts import cut

SETTINGS = shiftaudit.Settings(protocol="crop", shifts="4", stages=False, workers=0)


def test_it_is_the_audit_s_consistency_on_the_bundled_sample() -> None:
    report = shiftaudit.score(sample.model_path(), sample.images_path(), SETTINGS)
    expected = report.protocols["crop"].metrics["consistency"].value
    model = shiftaudit.load_model(str(sample.model_path()))
    used = model.preprocessing
    files = {file.relative: file for file in shiftaudit.find_images(sample.images_path())[0]}
    from_logits, from_classes = ShiftConsistency(), ShiftConsistency()
    for image in report.per_image:
        pixels = torch.from_numpy(decode(files[image.path], used, report.protocol.canvas).pixels) / 255
        canvas = (pixels - torch.tensor(used.mean).view(-1, 1, 1)) / torch.tensor(used.std).view(-1, 1, 1)
        views = torch.stack(cut(canvas, "crop", image.views["crop"].shifts, used.size))
        with torch.inference_mode():
            from_logits.update(model(views)[:, None])
        from_classes.update(torch.tensor(image.views["crop"].predictions)[:, None])
    assert from_classes.compute().item() == pytest.approx(expected, abs=1e-6)
    # A near-tie may fall differently in another grouping of views.
    assert from_logits.compute().item() == pytest.approx(expected, abs=0.01)


def logits(k: int, n: int, seed: int) -> Tensor:
    return torch.randn(k, n, 3, generator=torch.Generator().manual_seed(seed))


def brute_force(views: Tensor) -> float:
    answers = views.argmax(-1).T.tolist()
    pairs = [[a == b for i, a in enumerate(row) for b in row[i + 1 :]] for row in answers]
    return sum(sum(row) / len(row) for row in pairs) / len(pairs)


def test_batches_merges_and_calls_add_up() -> None:
    whole = logits(5, 12, 0)
    expected = pytest.approx(brute_force(whole))
    one, parts, calls = ShiftConsistency(), [ShiftConsistency(), ShiftConsistency()], ShiftConsistency()
    one.update(list(whole))
    for part, views in zip(parts, whole.split(7, dim=1), strict=True):
        part.update(views)
        assert calls(views).item() == pytest.approx(brute_force(views))
    merged = ShiftConsistency()
    merged.merge_state(parts)
    assert [m.compute().item() for m in (one, merged, calls)] == [expected] * 3
    restored = ShiftConsistency()
    restored.load_state_dict(one.half().state_dict())
    assert restored.compute().item() == expected
    restored.reset()
    assert torch.isnan(restored.compute())


@pytest.mark.parametrize(
    "views",
    [torch.zeros(1, 4, 3), torch.zeros(4, 3), torch.zeros(2, 4, 3, dtype=torch.int64), []],
    ids=["one view", "no views", "classes of three dimensions", "nothing"],
)
def test_other_shapes_are_refused(views: Tensor | list[Tensor]) -> None:
    with pytest.raises(shiftaudit.InputError, match="expected logits"):
        ShiftConsistency().update(views)


def test_another_number_of_views_is_refused() -> None:
    metric = ShiftConsistency()
    metric.update(logits(3, 4, 0))
    with pytest.raises(shiftaudit.InputError, match="got 2 views of each image, and 3 before"):
        metric.update(logits(2, 4, 0))


def test_broken_logits_are_not_perfectly_consistent() -> None:
    metric = ShiftConsistency()
    metric.update(torch.full((3, 2, 5), torch.nan))
    with pytest.raises(shiftaudit.ModelError, match="6 answers hold NaN"):
        metric.compute()


RANK = """
import sys, torch
from torch import distributed
from shiftaudit import ShiftConsistency
rank = int(sys.argv[2])
distributed.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=rank, world_size=2)
metric = ShiftConsistency()
if rank == 0:
    metric.update(torch.tensor([[3, 1], [3, 1], [3, 2]]))
print(metric.compute().item())
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_processes_are_summed_and_one_may_have_seen_nothing(tmp_path: Path) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(tmp_path / "store"), str(rank)], stdout=subprocess.PIPE, text=True
        )
        for rank in (0, 1)
    ]
    assert [float(process.communicate(timeout=120)[0]) for process in started] == [pytest.approx(2 / 3)] * 2
