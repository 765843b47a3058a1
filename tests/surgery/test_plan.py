"""What is decided for each kind of site, and what it costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shiftaudit.errors import PatchError
from shiftaudit.records.codec import dumps, structure
from shiftaudit.records.patch import PatchOptions, PatchRecord
from shiftaudit.surgery.cost import make_record
from shiftaudit.surgery.plan import Site, dense_size, make_plan

CONV = Site("layer.conv", "conv", (3, 3), (2, 2), (16, 16), (8, 8), 4, 8, padding=(1, 1), tail=("bn", "relu"))


def decide(site: Site, **options):
    return make_plan([site], PatchOptions(**options)).decisions[0]


def test_conv_is_made_dense_and_blurred_after_its_activation() -> None:
    decision = decide(CONV)
    assert (decision.action, decision.op_stride, decision.blur_stride) == ("blur_after_tail", (1, 1), (2, 2))
    assert "bn → relu" in decision.reason
    assert decide(replace(CONV, tail=())).action == "blur_after_op"


def test_shortcut_is_blurred_before() -> None:
    decision = decide(replace(CONV, kernel=(1, 1), padding=(0, 0)))
    assert (decision.action, decision.op_stride, decision.blur_stride) == ("blur_before_conv", (1, 1), (2, 2))


def test_placement_before_keeps_the_convolutions_stride() -> None:
    decision = decide(CONV, placement="pre-conv")
    assert (decision.action, decision.op_stride, decision.blur_stride) == ("blur_before_conv", (2, 2), (1, 1))
    assert decide(replace(CONV, opaque=True)).op_stride == (2, 2)


def test_stem_is_left_unless_asked_for() -> None:
    stem = replace(CONV, on_input=True)
    assert decide(stem).action == "leave"
    assert "--stem" in decide(stem).reason
    assert decide(stem, stem=True).action == "blur_after_tail"


def test_patch_embedding_is_left_unless_asked_for_and_then_never_made_dense() -> None:
    embedding = replace(CONV, kernel=(4, 4), stride=(4, 4), padding=(0, 0), on_input=True)
    assert "--patchify" in decide(embedding).reason
    decision = decide(embedding, patchify=True)
    assert (decision.action, decision.op_stride, decision.blur_stride) == ("blur_before_conv", (4, 4), (1, 1))


@pytest.mark.parametrize("op", ["max_pool", "avg_pool"])
def test_pool_is_made_dense_then_blurred(op: str) -> None:
    decision = decide(replace(CONV, op=op, tail=()))
    assert (decision.action, decision.op_stride, decision.blur_stride) == ("blur_after_pool", (1, 1), (2, 2))


def test_adaptive_pool_needs_equal_windows() -> None:
    pool = Site("pool", "adaptive_avg_pool", (2, 2), (2, 2), (14, 14), (7, 7), 4, 4)
    assert decide(pool).action == "blur_after_pool"
    uneven = replace(pool, input_size=(13, 13))
    assert decide(uneven).action == "leave"
    assert "13×13 to 7×7" in decide(uneven).reason


def test_slices_are_blurred_before_at_full_rate() -> None:
    decision = decide(Site("merge/slice", "slice", (1, 1), (2, 2), (8, 8), (4, 4), 4, 4))
    assert (decision.action, decision.blur_stride) == ("blur_before_slice", (1, 1))


def test_only_the_subsampled_axis_is_filtered() -> None:
    assert decide(replace(CONV, stride=(2, 1), output_size=(8, 16))).filter_size == (3, 1)


def test_small_maps_say_that_they_fall_back() -> None:
    small = replace(CONV, input_size=(1, 1), output_size=(1, 1))
    decision = decide(small)
    assert (decision.pad, decision.pad_used) == ("reflect", "replicate")
    assert "too small for reflect" in decision.reason
    assert decide(CONV).pad_used == "reflect"


def test_blocked_sites_say_why() -> None:
    assert decide(replace(CONV, blocker="its indices are used")).reason == "its indices are used"


def test_patterns_choose_sites_and_a_pattern_without_a_site_is_an_error() -> None:
    sites = [CONV, replace(CONV, name="other.conv")]
    actions = [d.action for d in make_plan(sites, PatchOptions(only=("layer.*",))).decisions]
    assert actions == ["blur_after_tail", "leave"]
    actions = [d.action for d in make_plan(sites, PatchOptions(skip=("layer.*",))).decisions]
    assert actions == ["leave", "blur_after_tail"]
    with pytest.raises(PatchError, match=r"'nothing\.\*' matches no"):
        make_plan(sites, PatchOptions(skip=("nothing.*",)))


def test_calls_of_one_module_are_changed_together_or_not_at_all() -> None:
    sites = [replace(CONV, group="shared"), replace(CONV, name="layer.conv@2", group="shared")]
    assert {d.action for d in make_plan(sites, PatchOptions()).decisions} == {"blur_after_tail"}
    plan = make_plan(sites, PatchOptions(skip=("layer.conv@2",)))
    assert not plan.changes
    assert "shares module shared" in plan.decisions[0].reason


def test_nothing_to_patch_is_an_error_that_says_why() -> None:
    with pytest.raises(PatchError, match="no convolution, pool, slice or interpolation of this network"):
        make_plan([], PatchOptions()).require_changes()
    with pytest.raises(PatchError, match=r"only downsampling site was left .*--stem"):
        make_plan([replace(CONV, on_input=True)], PatchOptions()).require_changes()


@pytest.mark.parametrize("arguments", [{"filter_size": 8}, {"pad": "mirror"}, {"placement": "middle"}])
def test_bad_options_are_refused(arguments: dict) -> None:
    with pytest.raises(PatchError):
        PatchOptions(**arguments)


def test_dense_size_counts_windows_at_stride_one() -> None:
    assert dense_size(CONV) == (16, 16)
    hanging = Site("pool", "max_pool", (3, 3), (2, 2), (112, 112), (56, 56), 4, 4)
    assert dense_size(hanging) == (111, 111)


def test_multiply_adds_of_a_dense_conv_and_its_blur() -> None:
    record = make_record(make_plan([CONV], PatchOptions()), backend="fx", input_size=(32, 32), network_macs=100_000)
    site = record.sites[0]
    assert site.macs_before == 8 * 8 * 8 * 4 * 9
    assert site.macs_after == 16 * 16 * 8 * 4 * 9 + 8 * 8 * 8 * 9
    assert record.macs_after == 100_000 + site.macs_after - site.macs_before


def test_even_filters_drift_by_half_a_pixel_of_the_map_they_read_and_paths_do_not_add_up() -> None:
    first = replace(CONV, name="a")
    branch = replace(CONV, name="b", after=("a",))
    shortcut = replace(CONV, name="s", kernel=(1, 1), padding=(0, 0), after=("a",))
    last = replace(CONV, name="c", after=("b", "s"))
    plan = make_plan([first, branch, shortcut, last], PatchOptions(filter_size=4))
    record = make_record(plan, backend="fx", input_size=(64, 64), network_macs=0)
    assert [site.drift for site in record.sites] == [(0.5, 0.5), (1.0, 1.0), (1.0, 1.0), (2.0, 2.0)]
    assert record.drift == (3.5, 3.5)
    odd = make_record(make_plan([first], PatchOptions()), backend="fx", input_size=(64, 64), network_macs=0)
    assert odd.drift == (0.0, 0.0)


def test_record_survives_json() -> None:
    import json

    record = make_record(make_plan([CONV], PatchOptions()), backend="fx", input_size=(32, 32), network_macs=7)
    assert structure(json.loads(dumps(record)), PatchRecord, "record") == record
    assert record.patched and not record.left
