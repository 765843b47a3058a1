"""A patched network's stages stand beside the original's, although their names changed."""

from __future__ import annotations

from shiftaudit.metrics.stage_pairs import pair_stages
from shiftaudit.records.report import Stage


def stage(name: str, stride: float) -> Stage:
    return Stage(name, "conv", (stride, stride), (2, 2), 1, (8, 8), (4, 4), 3, {})


def test_stages_of_the_same_strides_are_paired_by_position() -> None:
    a = [stage("conv1", 2), stage("maxpool", 4)]
    b = [stage("conv1", 2), stage("blur_maxpool/conv", 4)]
    assert pair_stages(a, b) == [("conv1", a[0], b[0]), ("maxpool", a[1], b[1])]


def test_stages_of_different_networks_are_paired_by_name_and_the_rest_stands_alone() -> None:
    a = [stage("stem", 2), stage("pool", 4)]
    b = [stage("pool", 2), stage("late", 4), stage("later", 8)]
    assert pair_stages(a, b) == [
        ("stem", a[0], None),
        ("pool", a[1], b[0]),
        ("late", None, b[1]),
        ("later", None, b[2]),
    ]
