"""A gate's verdicts in words: shared by the table, Markdown, JUnit and GitHub."""

from __future__ import annotations

from collections.abc import Sequence

from shiftaudit.records.gate import FAIL, INCONCLUSIVE, GateResult, Verdict
from shiftaudit.render.facts import number, percent

REFRESH = (
    "It improved beyond noise: refresh the baseline (`shiftaudit baseline update`) so that the gate keeps the gain."
)


def headline(result: GateResult) -> str:
    """The decision in one sentence."""
    failed = [verdict.name for verdict in result.verdicts if verdict.outcome == FAIL]
    unsure = [verdict.name for verdict in result.verdicts if verdict.outcome == INCONCLUSIVE]
    images = f"{result.n_images:,} images"
    if failed:
        return f"FAIL: {_listed(failed)} got worse than the gate accepts, judged on {images}"
    if unsure:
        return f"INCONCLUSIVE: {images} cannot tell whether {_listed(unsure)} got worse than the gate accepts"
    return f"PASS: nothing got worse than the gate accepts, judged on {images}"


def consequence(result: GateResult) -> str | None:
    """What an inconclusive gate leads to, None when it is decided."""
    if result.outcome != INCONCLUSIVE:
        return None
    if result.on_inconclusive == "fail":
        return "No verdict (--on-inconclusive fail): exit code 3."
    return f"Let through (--on-inconclusive {result.on_inconclusive}): noise never fails the gate."


def demand(verdict: Verdict, *, unit: bool = True) -> str:
    """What the rule accepts; for a table without the unit of differences."""
    if verdict.rule == "degenerate":
        return "more than one answer"
    limit = value(verdict, verdict.threshold)
    if verdict.rule == "margin":
        word = "drop" if verdict.higher_is_better else "rise"
        bare = _bare(verdict, abs(verdict.threshold), signed=False)
        return f"{word} ≤ {bare}{_unit(verdict) if unit else ''}"
    return f"≥ {limit}" if verdict.rule == "floor" else f"≤ {limit}"


def finding(verdict: Verdict, *, unit: bool = True) -> str:
    """What was found, with the bounds that decided: `−2.9 points [−4.5, −1.2]`; for a table without its unit."""
    if verdict.rule == "degenerate":
        return "(nearly) all images get one answer"
    if verdict.estimate is None:
        return "–"
    relative = verdict.rule == "margin"
    low, high = (_bare(verdict, bound, signed=relative) for bound in (verdict.low, verdict.high))
    return f"{_bare(verdict, verdict.estimate, signed=relative)}{_unit(verdict) if unit else ''} [{low}, {high}]"


def sentence(verdict: Verdict) -> str:
    """One verdict as a sentence for a log or an annotation."""
    if verdict.rule == "degenerate":
        return "the model gives (nearly) all images one answer; the baseline did not"
    parts = []
    if verdict.rule == "margin":
        parts.append(f"{value(verdict, verdict.baseline)} → {value(verdict, verdict.candidate)}, {finding(verdict)}")
    else:
        parts.append(finding(verdict))
    parts.append(f"accepted: {demand(verdict)}")
    if verdict.flips is not None:
        parts.append(flips(verdict))
    if verdict.outcome == INCONCLUSIVE:
        parts.append(needed(verdict))
    return "; ".join(parts)


def flips(verdict: Verdict) -> str:
    """Images whose yes/no outcome changed, empty where the metric is none."""
    if verdict.flips is None:
        return ""
    return f"{verdict.flips.lost} lost, {verdict.flips.gained} gained, McNemar p = {verdict.flips.p_value:.3g}"


def needed(verdict: Verdict) -> str:
    """How many images would decide."""
    if verdict.images_needed is None:
        return (
            "no number of images would decide: it lies on the limit"
            if verdict.n_images > 1
            else "one image decides nothing"
        )
    return f"about {max(verdict.images_needed, verdict.n_images + 1):,} images would decide"


def value(verdict: Verdict, amount_: float | None) -> str:
    """A value of the verdict's metric in its unit: per cent, or a plain number for stages."""
    return number(amount_) if verdict.name.startswith("stages.") else percent(amount_)


def _unit(verdict: Verdict) -> str:
    if verdict.name.startswith("stages."):
        return ""
    return " points" if verdict.rule == "margin" else " %"


def _bare(verdict: Verdict, amount_: float | None, *, signed: bool) -> str:
    if amount_ is None:
        return "?"
    text = f"{amount_:+.4f}" if verdict.name.startswith("stages.") else f"{amount_ * 100:+.1f}"
    text = text.replace("-", "−")
    return text if signed else text.removeprefix("+")


def _listed(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    return unique[0] if len(unique) == 1 else f"{', '.join(unique[:-1])} and {unique[-1]}"
