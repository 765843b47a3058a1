from __future__ import annotations

import math

import pytest
from report_builder import fake_report, make_images, make_report

from shiftaudit.errors import InputError
from shiftaudit.gate.metric_rules import GATED
from shiftaudit.metrics.columns import ViewColumns
from shiftaudit.metrics.measures import protocol_result
from shiftaudit.metrics.vocabulary import BY_NAME, MEASURES, METRICS, label_of, lookup, unit_of


def test_every_metric_of_a_report_stands_in_the_table_with_label_unit_and_direction() -> None:
    images = make_images(30, flips=0.5, wrong=0.3, seed=0)
    results = [
        *fake_report().protocols.values(),
        *make_report().protocols.values(),
        protocol_result(ViewColumns(images, "crop"), shifts="diagonal", max_shift=16),
    ]
    named = {name: metric for result in results for name, metric in result.metrics.items()}
    assert named.keys() == MEASURES.keys(), "the table holds no metric that no report has"
    for name, metric in named.items():
        measure = MEASURES[name]
        assert measure.label
        assert measure.text
        assert measure.formula
        assert measure.source
        assert measure.unit in ("share", "probability", "nats")
        assert measure.higher_is_better is metric.higher_is_better


def test_names_are_unique_and_every_term_is_found_by_its_name() -> None:
    assert len(BY_NAME) == len({term.label for term in BY_NAME.values()})
    assert all(lookup(name.upper().replace("_", " ")).name == name for name in BY_NAME)


def test_what_is_yes_or_no_is_a_share_and_has_one_comparison_an_image() -> None:
    for measure in METRICS:
        if measure.binary:
            assert measure.unit == "share"
            assert measure.compared == "images"


def test_the_gate_judges_shares_of_which_more_is_better_and_that_a_baseline_tells() -> None:
    for measure in GATED.values():
        assert measure.unit == "share"
        assert measure.higher_is_better
        assert measure.by_counts is not None
    assert {name for name, measure in GATED.items() if measure.binary} == {"accuracy", "stable", "accuracy_worst"}


def test_a_metric_has_no_value_where_the_label_or_the_views_are_missing() -> None:
    images = make_images(1, flips=0, wrong=0, seed=0, labelled=False, protocols=("crop",))
    for measure in filter(lambda measure: measure.is_mean, METRICS):
        assert math.isnan(measure.of_views(ViewColumns(images, "circular"))[0])
        assert math.isnan(measure.of_views(ViewColumns(images, "crop"))[0]) is measure.needs_labels
    assert math.isnan(MEASURES["stable"].of_counts(True, None)), "not even where all of no views agree"
    assert MEASURES["accuracy"].of_counts(True, None) == 1.0


def test_units_are_found_by_full_names_and_stage_names_do_not_confuse() -> None:
    assert unit_of("crop.adjacent_change") == unit_of("adjacent_change") == unit_of("accuracy") == "share"
    assert unit_of("circular.js_divergence") == "nats"
    assert unit_of("stages.blocks.0.stable") == "error"
    assert unit_of("brand_new") is None
    assert label_of("brand_new") == "brand new"


def test_a_misspelt_term_gets_a_suggestion() -> None:
    with pytest.raises(InputError, match="did you mean consistency"):
        lookup("consistancy")
