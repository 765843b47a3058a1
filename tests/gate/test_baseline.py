"""Baselines: what they hold, how they read in a diff, and when they may be made."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from report_builder import image_id, make_report

from shiftaudit.errors import InputError, NoVerdictError
from shiftaudit.gate.baseline import as_baseline, baseline_of, baseline_text, read_baseline, refuse_in_ci, savable
from shiftaudit.records import codec
from shiftaudit.records.codec import plain
from shiftaudit.records.reading import read_report


def test_a_baseline_survives_the_way_to_its_file_and_back():
    baseline = baseline_of(make_report())
    again = as_baseline(json.loads(baseline_text(baseline)), "it")
    assert again.images == baseline.images
    assert plain(again) == plain(baseline)
    assert baseline_text(again) == baseline_text(baseline)


def test_its_counts_are_those_of_the_predictions():
    report = make_report(20)
    baseline = baseline_of(report)
    for row in report.per_image:
        image = baseline.images[row.id]
        assert image.correct == (row.prediction == row.label)
        for protocol, views in row.views.items():
            answers = views.predictions
            pairs = sum(answers[i] == answers[j] for i in range(len(answers)) for j in range(i))
            counts = image.views[protocol]
            assert (counts.n_views, counts.agreeing_pairs) == (8, pairs)
            assert counts.agreeing_with_unshifted == sum(answer == row.prediction for answer in answers)
            assert counts.correct == sum(answer == row.label for answer in answers)


def test_the_file_has_sorted_keys_one_line_an_image_and_a_newline_at_the_end():
    text = baseline_text(baseline_of(make_report(20)))
    assert list(json.loads(text)) == sorted(json.loads(text))
    lines = [line for line in text.splitlines() if line.startswith('  "') and '"agreeing_pairs"' in line]
    assert len(lines) == 20
    assert [line.split('"')[1] for line in lines] == sorted(image_id(i) for i in range(20))
    assert text.endswith("}\n")
    assert not re.search(r"[ \t]+$", text, re.MULTILINE)


def test_one_changed_image_changes_its_line_and_the_headline_numbers_only():
    report = make_report(20)
    row = report.per_image[7]
    views = {**row.views, "crop": replace(row.views["crop"], predictions=(9, 8, 7, 6, 5, 4, 3, 2))}
    changed = replace(report, per_image=(*report.per_image[:7], replace(row, views=views), *report.per_image[8:]))
    before, after = (baseline_text(baseline_of(r)).splitlines() for r in (report, changed))
    differing = [a for a, b in zip(before, after, strict=True) if a != b]
    assert len(differing) == 1
    assert row.id in differing[0]


def test_no_path_gets_into_it():
    report = make_report(5, source="runs/2024-05-01/model.pt")
    report = replace(report, model=replace(report.model, weights="C:\\secret\\w.safetensors"))
    text = baseline_text(baseline_of(report))
    assert '"source": "model.pt"' in text
    assert '"weights": "w.safetensors"' in text
    assert "class0/" not in text
    assert "/" not in text


def test_a_limited_or_empty_report_makes_no_baseline():
    with pytest.raises(InputError, match="--limit 5"):
        savable(make_report(5, limit=5))
    with pytest.raises(InputError, match="no image"):
        savable(replace(make_report(2), per_image=()))


@pytest.mark.parametrize(("value", "refused"), [("true", True), ("1", True), ("", False), ("false", False)])
def test_updating_in_ci_needs_force(value, refused):
    refuse_in_ci({"CI": value}, force=True)
    if refused:
        with pytest.raises(InputError, match="refused to update a baseline in CI"):
            refuse_in_ci({"CI": value}, force=False)
    else:
        refuse_in_ci({"CI": value}, force=False)


def test_a_report_is_taken_as_the_baseline_it_makes(tmp_path):
    report = make_report(10)
    (tmp_path / "report.json").write_text(codec.dumps(report))
    assert read_baseline(tmp_path / "report.json").images == baseline_of(report).images


@pytest.mark.parametrize(
    ("version", "words"), [(0, "older than the 1.*make it again"), (2, "newer than the 1.*upgrade")]
)
def test_another_schema_version_is_refused_with_a_sentence(tmp_path, version, words):
    report = make_report(3)
    files = {"report": json.loads(codec.dumps(report)), "baseline": json.loads(baseline_text(baseline_of(report)))}
    for name, data in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({**data, "schema_version": version}))
        with pytest.raises(NoVerdictError, match=words):
            read_baseline(tmp_path / f"{name}.json")
    with pytest.raises(NoVerdictError, match=words):
        read_report(tmp_path / "report.json")


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"schema_version": "1"}', '{"schema_version": true}', '{"schema_version": 1}', "{"]
)
def test_what_is_no_baseline_is_refused_with_a_sentence(tmp_path, text):
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(InputError, match=r"b\.json"):
        read_baseline(tmp_path / "b.json")


def test_a_baseline_is_no_report(tmp_path):
    (tmp_path / "b.json").write_text(baseline_text(baseline_of(make_report(3))))
    with pytest.raises(InputError, match="is a baseline; expected a report"):
        read_report(tmp_path / "b.json")


def test_a_missing_baseline_is_no_verdict_and_says_how_to_make_one(tmp_path):
    with pytest.raises(NoVerdictError, match=r"does not exist.*shiftaudit baseline save"):
        read_baseline(tmp_path / "none.json")
