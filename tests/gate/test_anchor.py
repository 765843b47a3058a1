"""The anchor: that creep is caught, that nothing else is, and that it is kept, moved and refused as it should be."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from gate_simulation import creep
from report_builder import make_report

from shiftaudit.errors import InputError, NoVerdictError
from shiftaudit.gate.anchor import anchored_by, first_measurement
from shiftaudit.gate.baseline import as_baseline, baseline_of, baseline_text
from shiftaudit.gate.consistent import digest
from shiftaudit.gate.drops import require_no_sure_drop
from shiftaudit.gate.judge import judge
from shiftaudit.records.codec import plain
from shiftaudit.records.gate import Rules
from shiftaudit.records.settings import Settings
from shiftaudit.render.gate.formats import FORMATS, render_gate

N = 300


def measured(flips: float, seed: int = 1, **changes):
    """A baseline of a network of its own."""
    report = make_report(N, flips=flips, seed=seed, **changes)
    return baseline_of(replace(report, model=replace(report.model, source=f"v{flips}", sha256=f"{seed:064}")))


def reread(baseline):
    return as_baseline(json.loads(baseline_text(baseline)), "it")


@pytest.fixture(scope="module")
def steps():
    """Networks of which each loses about two points against the one before, too little to be seen at a margin of 3."""
    return [measured(0.1 + 0.04 * step, seed=step) for step in range(5)]


@pytest.fixture(scope="module")
def crept(steps):
    """The baseline after every step but the last was taken into it."""
    baseline = steps[0]
    for step in steps[1:-1]:
        baseline = reread(anchored_by(step, baseline))
    return baseline


def verdicts(result, rule):
    return {verdict.name: verdict for verdict in result.verdicts if verdict.rule == rule}


# Twenty gates are judged in each of 24 runs, which takes some seconds.
def test_ten_drops_of_a_point_with_the_baseline_refreshed_each_time_are_caught():
    """0 of 60 runs failed before there was an anchor. Tried with 30 runs: all fail by the sixth drop."""
    runs = 8
    seen = creep(500, runs, drop=0.01, anchor=True)
    assert seen.stopped[4] == runs
    assert seen.failed[6] == runs
    assert seen.failed[2] == 0
    assert creep(500, runs, drop=0.01, anchor=False).failed[-1] == 0
    unchanged = creep(500, runs, drop=0.0, anchor=True)
    assert unchanged.failed[-1] == 0
    assert unchanged.stopped[-1] <= 1
    # On few images noise alone stops the gate now and then, as docs/ci.md says, and never fails it.
    few = creep(200, 30, drop=0.0, anchor=True)
    assert few.failed[-1] == 0
    assert 5 <= few.stopped[-1] <= 15


def test_drops_that_add_up_fail_against_the_anchor_and_not_against_the_baseline(steps, crept):
    result = judge(steps[-1], crept)
    assert result.exit_code == 1
    assert all(verdict.outcome != "fail" for verdict in verdicts(result, "margin").values())
    failed = verdicts(result, "anchor")["circular.consistency"]
    assert failed.outcome == "fail"
    found = [steps[i].metrics["circular"]["consistency"].value for i in (0, -1)]
    assert (failed.baseline, failed.candidate) == pytest.approx(found, abs=1e-5)
    assert (result.anchor, result.anchor_model) == ("judged", "v0.1")
    assert judge(steps[-1], steps[-2]).outcome != "fail"


def test_what_is_judged_against_the_anchor_is_what_a_gate_on_the_first_baseline_judges(steps, crept):
    by_anchor = verdicts(judge(steps[-1], crept), "anchor")
    by_first = verdicts(judge(steps[-1], steps[0]), "margin")
    assert by_anchor.keys() == by_first.keys()
    for name, verdict in by_first.items():
        assert by_anchor[name].estimate == pytest.approx(verdict.estimate, abs=1e-12)
        assert by_anchor[name].threshold == verdict.threshold


def test_the_anchor_holds_only_images_that_have_changed_since(steps, crept):
    first = first_measurement(crept)
    assert first.images == steps[0].images
    assert len(crept.anchor.images) < N / 3
    assert plain(first.stages) == plain(steps[0].stages)
    assert anchored_by(steps[0], steps[0]).anchor.images == {}
    assert len(baseline_text(crept)) < 1.4 * len(baseline_text(steps[0]))


def test_a_fresh_baseline_is_its_own_anchor_and_is_judged_once(steps):
    assert steps[0].anchored
    result = judge(steps[1], steps[0])
    assert (result.anchor, verdicts(result, "anchor")) == ("itself", {})


def test_a_baseline_of_before_there_were_anchors_says_so_in_one_line_and_an_update_gives_it_one(steps):
    data = json.loads(baseline_text(steps[0]))
    del data["anchored"], data["anchor"]
    data["digest"] = digest(data)
    old = as_baseline(data, "it")
    result = judge(steps[1], old)
    assert result.anchor == "none"
    assert not any("anchor" in warning for warning in result.warnings)
    for form in set(FORMATS) - {"json", "github-benchmark"}:
        assert render_gate(result, form).count("no anchor") == 1
    assert first_measurement(anchored_by(steps[1], old)).images == old.images


def test_margins_of_the_anchor_are_those_of_the_baseline_unless_named_and_can_be_taken_away(steps, crept):
    def limits(**rules):
        return {name: -v.threshold for name, v in verdicts(judge(steps[-1], crept, Rules(**rules)), "anchor").items()}

    assert set(limits().values()) == {0.03}
    assert limits(margins={"crop.consistency": 0.05})["crop.consistency"] == 0.05
    own = limits(margins={"consistency": 0.05}, anchor_margins={"crop.consistency": 0.2, "accuracy": None})
    assert own == {"circular.consistency": 0.05, "crop.consistency": 0.2}
    assert limits(anchor=False) == {}
    assert judge(steps[-1], crept, Rules(anchor=False)).anchor == "off"
    with pytest.raises(InputError, match="the gate knows no metric 'speed'"):
        judge(steps[-1], crept, Rules(anchor_margins={"speed": 0.1}))


def test_stages_are_judged_against_the_anchor_too(steps, crept):
    stages = verdicts(judge(steps[-1], crept, Rules(stage_margin=0.05)), "anchor").keys()
    assert {name for name in stages if name.startswith("stages.")} == {f"stages.{name}" for name in steps[0].stages}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"settings": Settings(seed=9)}, "protocol.seed is 9 and was 0"),
        ({"labelled": False}, "labelled in the candidate"),
        ({"n": N + 1}, "data.manifest_sha256 differs"),
    ],
)
def test_other_images_views_or_labels_than_the_anchors_are_named_and_need_a_new_anchor(steps, crept, changes, words):
    n = changes.pop("n", N)
    with pytest.raises(InputError, match=rf"{words}.*--re-anchor"):
        anchored_by(baseline_of(make_report(n, **changes)), crept)


def test_an_anchor_that_does_not_fit_its_baseline_is_no_verdict_that_names_why(steps, crept):
    other = replace(crept.anchor, protocol=replace(crept.protocol, seed=9, protocol_hash="0" * 64))
    with pytest.raises(NoVerdictError, match=r"the anchor .* cannot be judged against: .*protocol.seed"):
        judge(steps[-1], replace(crept, anchor=other))
    assert judge(steps[-1], replace(crept, anchor=other), Rules(anchor=False)).verdicts


@pytest.mark.parametrize(
    "edit",
    [
        lambda anchor: next(iter(anchor["images"].values()))["views"]["crop"].update(agreeing_pairs=99),
        lambda anchor: anchor["images"].update({"0" * 64: next(iter(anchor["images"].values()))}),
        lambda anchor: anchor.update(extra=1),
    ],
)
@pytest.mark.parametrize("renewed", [False, True])
def test_an_edited_anchor_is_refused_even_with_a_new_digest(crept, edit, renewed):
    data = json.loads(baseline_text(crept))
    edit(data["anchor"])
    with pytest.raises(InputError, match="the baseline"):
        as_baseline({**data, "digest": digest(data)} if renewed else data, "the baseline")


def test_an_update_surely_below_the_anchor_needs_to_be_accepted(steps, crept):
    lower = measured(0.3, seed=9)
    with pytest.raises(InputError, match=r"circular.consistency \(against the anchor\).*--accept-drop"):
        require_no_sure_drop(lower, anchored_by(lower, crept))


def test_every_format_names_the_anchor(steps, crept):
    result = judge(steps[-1], crept)
    for form in set(FORMATS) - {"github-benchmark", "json"}:
        text = render_gate(result, form)
        assert "since the anchor" in text or "(anchor)" in text
    assert '"rule": "anchor"' in render_gate(result, "json")
