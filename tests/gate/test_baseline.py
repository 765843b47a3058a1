"""Baselines: what they hold, how they read in a diff, and when they may be made."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from report_builder import image_id, make_report

from shiftaudit.errors import InputError, NoVerdictError
from shiftaudit.gate.baseline import as_baseline, baseline_of, baseline_text, read_baseline, refuse_in_ci, savable
from shiftaudit.gate.consistent import digest
from shiftaudit.gate.judge import judge
from shiftaudit.records import codec
from shiftaudit.records.codec import plain
from shiftaudit.records.reading import read_report


def test_a_baseline_survives_the_way_to_its_file_and_back():
    baseline = baseline_of(make_report())
    again = as_baseline(json.loads(baseline_text(baseline)), "it")
    assert again.images == baseline.images
    assert plain(replace(again, digest=None)) == plain(baseline)
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
    assert len(differing) == 2
    assert '"digest"' in differing[0]
    assert row.id in differing[1]


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
    ("step", "words"), [(-1, "is older than the .*make it again"), (1, "is newer than the .*upgrade")]
)
def test_another_schema_version_is_refused_with_a_sentence(tmp_path, step, words):
    report = make_report(3)
    files = {"report": json.loads(codec.dumps(report)), "baseline": json.loads(baseline_text(baseline_of(report)))}
    for name, data in files.items():
        version = data["schema_version"] + step
        (tmp_path / f"{name}.json").write_text(json.dumps({**data, "schema_version": version}))
        with pytest.raises(NoVerdictError, match=words):
            read_baseline(tmp_path / f"{name}.json")
    with pytest.raises(NoVerdictError, match=words):
        read_report(tmp_path / "report.json")


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"schema_version": "1"}', '{"schema_version": true}', '{"schema_version": 2}', "{"]
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


def text_of(change, *, renewed):
    """A baseline's JSON after an edit by hand; `renewed` when the editor also made the digest anew."""
    data = json.loads(baseline_text(baseline_of(make_report(20))))
    change(data)
    return json.dumps({**data, "digest": digest(data)} if renewed else data)


def first_image(data):
    return next(iter(data["images"].values()))


def first_stage(data):
    return next(iter(data["stages"].values()))


EDITS = {
    "no protocols": lambda data: data["protocol"].update(protocols=[]),
    "no protocols and no metrics": lambda data: (data["protocol"].update(protocols=[]), data.update(metrics={})),
    "a text for a number": lambda data: data["data"].update(n_images="20"),
    "a fraction for a number": lambda data: data["data"].update(n_images=20.0),
    "true for a number": lambda data: first_image(data).update(label=True),
    "a number for true": lambda data: first_image(data).update(correct=1),
    "another number of images": lambda data: data["data"].update(n_images=19),
    "another number of labels": lambda data: data["data"].update(n_labelled=19),
    "a lost label": lambda data: first_image(data).update(label=None),
    "a lost protocol of an image": lambda data: first_image(data)["views"].pop("crop"),
    "another manifest": lambda data: data["data"].update(manifest_sha256="0" * 64),
    "more agreeing pairs than there are": lambda data: first_image(data)["views"]["crop"].update(agreeing_pairs=99),
    "pairs that do not fit the views": lambda data: first_image(data)["views"]["crop"].update(agreeing_pairs=1),
    "another headline": lambda data: data["metrics"]["crop"]["consistency"].update(value=0.5),
    "a share above 1": lambda data: data.update(top_class_share=1.5),
    "a stage measured on no image": lambda data: first_stage(data)["circular"].update(n_images=0),
    "a stage measured on more images than there are": lambda data: first_stage(data)["circular"].update(n_images=21),
    "a name with half of a surrogate pair": lambda data: data["images"].update({"\ud800": data["images"].popitem()[1]}),
    "an unknown key": lambda data: data.update(extra=1),
}


@pytest.mark.parametrize("renewed", [False, True])
@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_baseline_is_refused_even_with_a_new_digest(edit, renewed):
    with pytest.raises(InputError, match="the baseline"):
        as_baseline(json.loads(text_of(EDITS[edit], renewed=renewed)), "the baseline")


def test_an_edit_that_contradicts_nothing_is_told_by_the_digest():
    with pytest.raises(InputError, match="was changed after it was made"):
        as_baseline(json.loads(text_of(lambda data: first_image(data).update(label=3), renewed=False)), "the baseline")


def test_labels_edited_along_with_a_model_are_incomparable_and_named():
    report = make_report(20)
    row = report.per_image[0]
    other = make_images_again(report, replace(row, label=(row.label + 1) % 10))
    with pytest.raises(NoVerdictError, match=r"images.label differs: 1 of 20 images have another label"):
        judge(baseline_of(other), baseline_of(report))


def make_images_again(report, first):
    return make_report(images=(first, *report.per_image[1:]))
