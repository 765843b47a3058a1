"""The one table of metrics: what each is called and means, its unit and direction, how an image's value is computed, what the
gate may do with it. Everything that prints, computes, compares or judges a metric looks here. No torch.
"""

from __future__ import annotations

import difflib
import math

from shiftaudit.errors import InputError
from shiftaudit.metrics.columns import (
    adjacent_changes_of_probability,
    adjacent_flips,
    changes_of_probability,
    divergences,
)
from shiftaudit.metrics.definitions import Measure, Term, Unit
from shiftaudit.metrics.terms import AFC, AZULAY, LIN, NONE, TERMS, ZHANG

# In the order of tables and, but for what is made from all images at once, of the report.
METRICS: tuple[Measure, ...] = (
    Measure(
        "consistency",
        "consistency",
        (
            "How often two shifted views of one image get the same answer. Each image is moved in several "
            "ways, the answers are compared two at a time, and the share of pairs that agree is averaged over the "
            "images. 100 % means that moving the image never changes the answer. It says nothing about "
            "whether the answer is right: a model that always says `cat` scores 100 %."
        ),
        ("mean over images of #{pairs of the K shifted views with equal top-1 class} / (K(K−1)/2)"),
        ZHANG + " (there: one pair of random crops an image)",
        unit="share",
        moved_by=(
            "the model, the images, the range and the protocol of the shifts; not the number of shifts, the "
            "labels, nor a rescaling of the logits"
        ),
        higher_is_better=True,
        by_counts=lambda _, counts: counts.consistency,
        compared="pairs",
        gated=True,
    ),
    Measure(
        "agreement_with_unshifted",
        "agreement with unshifted",
        (
            "The share of shifted views that get the same answer as the image left where it was. Usually a "
            "little higher than consistency, since only one of the two views is moved."
        ),
        ("mean over images and shifts of [top-1(shifted) = top-1(unshifted)]"),
        AZULAY + " (there: its complement, P(top-1 change), for neighbouring 1-px shifts)",
        unit="share",
        moved_by="what moves consistency, and an unshifted answer that is the exception; not the number of shifts",
        higher_is_better=True,
        by_counts=lambda _, counts: counts.agreement_with_unshifted,
        gated=True,
    ),
    Measure(
        "stable",
        "stable images",
        (
            "The share of images whose answer no tried shift changes. It falls as more shifts are tried, so "
            "compare it only between reports with the same shifts."
        ),
        ("share of images where the unshifted view and all K shifted views have one top-1 class"),
        AFC + " (adversarial consistency over all shifts of a grid)",
        unit="share",
        moved_by=(
            "what moves consistency, and the number of shifts: it falls with each; not how often an image changes "
            "its answer"
        ),
        higher_is_better=True,
        by_counts=lambda _, counts: float(counts.stable),
        compared="images",
        binary=True,
        gated=True,
    ),
    Measure(
        "max_flips",
        "flips at the worst shift",
        (
            "How often the answer changes at the one shift that hurts most; of random shifts, in the worst cell of "
            "a 4×4 grid of them. As the maximum of many it is large even where no shift is worse than another, so "
            "it has no interval but a p-value: how often dealing every image's changed answers anew to its own "
            "shifts gives so large a maximum. Above 0.05 no shift is surely worse than another. Use `--shifts "
            "grid:STEP`, which moves all images alike, to look for a bad shift."
        ),
        (
            "max over shifts, or cells of 10 views or more, of the share of answers with top-1(shifted) ≠ top-1(unshifted)"
        ),
        NONE,
        unit="share",
        moved_by=(
            "the number of cells or shifts it is the maximum of, and of images in them; not where the worst one lies"
        ),
        higher_is_better=False,
    ),
    Measure(
        "mean_abs_change",
        "change of probability",
        (
            "How much the probability of the model's first answer moves when the image does. It sees trouble "
            "that has not yet flipped an answer. 0 is perfect; 0.05 means five percentage points on average."
        ),
        ("mean over images and shifts of |p_c(shifted) − p_c(unshifted)|, c the unshifted top-1 class"),
        AZULAY,
        unit="probability",
        moved_by=(
            "the model's confidence, so that a temperature or label smoothing moves it though no answer changes; "
            "not the other classes"
        ),
        higher_is_better=False,
        by_views=changes_of_probability,
    ),
    Measure(
        "js_divergence",
        "Jensen-Shannon divergence",
        (
            "How far apart the whole list of class probabilities is before and after the move, not only the first "
            "answer. 0 means identical; the largest possible value is ln 2 = 0.693."
        ),
        ("mean of ½ KL(p ‖ m) + ½ KL(q ‖ m), m = (p + q)/2, in nats"),
        LIN,
        unit="nats",
        moved_by="what moves the change of probability, and all other classes too; not the labels",
        higher_is_better=False,
        by_views=divergences,
    ),
    Measure(
        "accuracy",
        "accuracy, unshifted",
        ("The share of labelled images that are answered correctly without a shift."),
        ("share of labelled images with top-1 = label on the unshifted view"),
        NONE,
        unit="share",
        moved_by="the model, the images and their labels; no shift",
        higher_is_better=True,
        by_counts=lambda correct, _: float(bool(correct)),
        compared="images",
        binary=True,
        needs_labels=True,
        per_protocol=False,
        gated=True,
    ),
    Measure(
        "accuracy_shifted",
        "accuracy, mean over shifts",
        (
            "The share of right answers over the shifted views. When it is clearly below the unshifted accuracy, "
            "the test set flatters the model: its images are better centred than life."
        ),
        ("mean over labelled images and shifts of [top-1(shifted) = label]"),
        NONE,
        unit="share",
        moved_by="the range and the protocol of the shifts; not their number",
        higher_is_better=True,
        by_counts=lambda _, counts: counts.accuracy,
        needs_labels=True,
        gated=True,
    ),
    Measure(
        "accuracy_worst",
        "accuracy, worst case",
        (
            "The share of labelled images that are answered correctly under every tried shift and unshifted: what "
            "is left when an adversary may choose how the image is moved."
        ),
        ("share of labelled images where all K + 1 views have top-1 = label"),
        AFC,
        unit="share",
        moved_by="what moves accuracy over shifts, and the number of shifts: it falls with each; not which shift is the bad one",
        higher_is_better=True,
        by_counts=lambda correct, counts: float(bool(correct) and counts.correct == counts.n_views),
        compared="images",
        binary=True,
        needs_labels=True,
        gated=True,
    ),
    Measure(
        "consistency_correct",
        "consistency where right",
        ("Consistency over the images whose unshifted answer is right. Flips here cost accuracy."),
        ("consistency over images with top-1(unshifted) = label"),
        NONE,
        unit="share",
        moved_by=(
            "what moves consistency, and which images the model gets right, so that two models have it on other images; "
            "not what the label is beyond that"
        ),
        higher_is_better=True,
        by_counts=lambda correct, counts: counts.consistency if correct else math.nan,
        compared="pairs",
        subgroup="right",
        needs_labels=True,
    ),
    Measure(
        "consistency_incorrect",
        "consistency where wrong",
        (
            "Consistency over the images whose unshifted answer is wrong. Usually far lower: a model in doubt "
            "is easily moved."
        ),
        ("consistency over images with top-1(unshifted) ≠ label"),
        NONE,
        unit="share",
        moved_by="what moves consistency where right; few images have it where a model is good, and below 10 it is not given",
        higher_is_better=True,
        by_counts=lambda correct, counts: math.nan if correct else counts.consistency,
        compared="pairs",
        subgroup="wrong",
        needs_labels=True,
    ),
    Measure(
        "adjacent_change",
        "flips a 1-px step",
        "How often the answer changes when the image moves on by one more pixel, down and right. A model whose answers "
        "never change has 0; 5 % means that the answer changes about once in 20 steps.",
        "mean over images of #{v = 1 … K: top-1(moved by (v, v)) ≠ top-1(moved by (v−1, v−1))} / K",
        AZULAY,
        unit="share",
        moved_by="each change of the answer on the way, there and back; not how far the image has moved by then",
        higher_is_better=False,
        by_views=adjacent_flips,
        only_diagonal=True,
    ),
    Measure(
        "adjacent_mean_abs_change",
        "change a 1-px step",
        "How much the probability of the model's first answer moves with each step of one pixel down and right. "
        "0 is perfect; 0.05 means five percentage points a step.",
        "mean over images and v = 1 … K of |p_c(moved by (v, v)) − p_c(moved by (v−1, v−1))|, c the unshifted top-1 class",
        AZULAY,
        unit="probability",
        moved_by="the model's confidence, and each move of it up or down; not the other classes, nor where the way ends",
        higher_is_better=False,
        by_views=adjacent_changes_of_probability,
        only_diagonal=True,
    ),
)

MEASURES: dict[str, Measure] = {measure.name: measure for measure in METRICS}
BY_NAME: dict[str, Term] = {term.name: term for term in (*METRICS, *TERMS)}
_ALIASES = {
    "flips": "max_flips",
    "js": "js_divergence",
    "error": "equivariance_error",
    "errors": "equivariance_error",
    "filter_size": "blurpool",
    "near_tie": "near_ties",
    "padding": "cause",
    "border": "cause",
    "padding_check": "cause",
    "overlap": "cause",
    "ci": "interval",
    "stages": "stage",
    "by_phase": "phase",
}
_STAGE_ERROR = "equivariance_error"


def lookup(name: str) -> Term:
    """The term of this name, in any case and with spaces or hyphens for underscores.

    Raises:
        InputError: there is no such term; the hint names the nearest ones.

    >>> lookup("Near ties").name, lookup("filter-size").name
    ('near_ties', 'blurpool')
    """
    key = name.strip().lower().replace(" ", "_").replace("-", "_")
    key = _ALIASES.get(key, key)
    if key in BY_NAME:
        return BY_NAME[key]
    close = difflib.get_close_matches(key, [*BY_NAME, *_ALIASES], n=3)
    hint = f"did you mean {', '.join(close)}?" if close else "`shiftaudit explain` lists all terms"
    raise InputError(f"there is no metric or term named {name!r}", hint=hint)


def label_of(metric: str) -> str:
    """The short label of a metric; an unknown metric keeps its own name with spaces."""
    return BY_NAME[metric].label if metric in BY_NAME else metric.replace("_", " ")


def unit_of(metric: str) -> Unit | None:
    """The unit of a metric by its name or its full name; None where it is unknown, as in a report of a later version.

    >>> unit_of("stable"), unit_of("crop.mean_abs_change"), unit_of("stages.layer1.stable"), unit_of("new_measure")
    ('share', 'probability', 'error', None)
    """
    first, _, rest = metric.partition(".")
    name = _STAGE_ERROR if first == "stages" else rest or first
    return BY_NAME[name].unit if name in BY_NAME else None
