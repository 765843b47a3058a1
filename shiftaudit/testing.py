"""One assertion for test suites: a model keeps its answers when images move.

from shiftaudit import assert_shift_invariant

def test_my_model_is_shift_invariant():
    assert_shift_invariant(model, "tests/images", floors={"consistency": 0.9})
    assert_shift_invariant(model, "tests/images", baseline="baseline.json")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from shiftaudit.audit.api import score
from shiftaudit.errors import InputError
from shiftaudit.gate.baseline import baseline_of, read_baseline
from shiftaudit.gate.judge import judge
from shiftaudit.gate.metric_rules import DEFAULT_MARGINS
from shiftaudit.models import LoadedModel
from shiftaudit.records.gate import FAIL, INCONCLUSIVE, PASS, Baseline, GateResult, Rules
from shiftaudit.records.report import Preprocessing
from shiftaudit.records.settings import Settings
from shiftaudit.render.gate.words import headline, sentence
from shiftaudit.views.protocol import settings_of

# Fewer images may well all be of one class.
_ENOUGH_FOR_ONE_ANSWER = 20


def assert_shift_invariant(
    model: LoadedModel | nn.Module | str | Path,
    images: str | Path | Sequence[str | Path],
    *,
    floors: Mapping[str, float] | None = None,
    baseline: str | Path | None = None,
    margins: Mapping[str, float | None] | None = None,
    stages: Mapping[str, float] | None = None,
    labels: str = "auto",
    settings: Settings | None = None,
    preprocessing: Preprocessing | None = None,
    strict: bool = False,
) -> GateResult:
    """Score `model` on `images` and raise AssertionError if it is surely less invariant than demanded.

    It tolerates answers that change: a floor of 0.9 lets one pair of views in ten disagree, a baseline lets consistency and
    accuracy fall by 3 points each (`margins`). And noise: a bound is broken only when the whole one-sided 95 % interval lies
    beyond it; with too few images to tell, the assertion holds unless `strict`. The returned result says what was shown.
    A model that gives (nearly) all of 20 images or more one answer fails, unless labels say that they are of one class.

    Args:
        model: a module of your own, a loaded model, or whatever the command line takes as MODEL.
        images: folders of images, or images.
        floors: smallest accepted values, such as `{"consistency": 0.9}`, all shares in [0, 1].
        baseline: a file of `shiftaudit baseline save`; its protocol is used, and `settings` gives the rest.
        margins: largest accepted drops against the baseline; see `shiftaudit.records.gate.Rules`.
        stages: largest accepted equivariance errors by stage name or pattern.
        labels: `auto`, `folder`, `none` or a CSV file.
        settings: the protocol without a baseline; batch size, device and workers in any case.
        preprocessing: of a module of your own; ImageNet's by default.
        strict: raise when the images cannot tell.

    Raises:
        AssertionError: a rule failed, or is inconclusive under `strict`. The message says which and by how much.
        NoVerdictError: the baseline is missing or was made of other images.
        InputError: nothing is demanded, or an argument cannot be used.
    """
    _check_demands(baseline, floors, margins, stages)
    against = None if baseline is None else read_baseline(Path(baseline))
    settings = _settings(settings or Settings(workers=0, stages=bool(stages)), against)
    candidate = baseline_of(score(model, images, settings, labels=labels, preprocessing=preprocessing))
    # Without a baseline the candidate stands in for it, and no drop is asked about.
    drops = margins or {} if against is not None else dict.fromkeys(DEFAULT_MARGINS)
    result = judge(candidate, against or candidate, Rules(drops, floors or {}, stages or {}))
    if against is None:
        _refuse_one_answer(candidate, strict=strict)
    if result.outcome == FAIL or (strict and result.outcome == INCONCLUSIVE):
        unmet = [f"{verdict.name}: {sentence(verdict)}" for verdict in result.verdicts if verdict.outcome != PASS]
        raise AssertionError("\n".join([headline(result), *unmet]))
    return result


def _check_demands(
    baseline: str | Path | None,
    floors: Mapping[str, float] | None,
    margins: Mapping[str, float | None] | None,
    stages: Mapping[str, float] | None,
) -> None:
    if baseline is not None:
        return
    if not floors and not stages:
        raise InputError(
            "nothing is demanded of the model", hint='pass floors={"consistency": 0.9}, stages or baseline'
        )
    if margins:
        raise InputError("margins are drops against a baseline, and none is given", hint="pass baseline, or floors")


def _settings(own: Settings, against: Baseline | None) -> Settings:
    """The baseline's protocol where there is one, carried out as the caller says."""
    return own if against is None else settings_of(against.protocol, own)


def _refuse_one_answer(candidate: Baseline, *, strict: bool) -> None:
    """A constant classifier is perfectly consistent, and no baseline says that this one is meant to be."""
    if candidate.degenerate and (strict or len(candidate.images) >= _ENOUGH_FOR_ONE_ANSWER):
        raise AssertionError(
            f"the model gives {100 * candidate.top_class_share:.0f} % of {len(candidate.images)} images one answer, which is "
            "consistent and says nothing; show it images of several classes, or name their class by labels"
        )
