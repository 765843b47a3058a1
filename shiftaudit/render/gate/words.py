"""A gate's verdicts in words: shared by the table, Markdown, JUnit and GitHub."""

from __future__ import annotations

from collections.abc import Sequence

from shiftaudit.metrics.vocabulary import unit_of
from shiftaudit.records.gate import ANCHOR, DEGENERATE, FAIL, FLOOR, INCONCLUSIVE, MARGIN, GateResult, Verdict
from shiftaudit.records.words import APPROXIMATE
from shiftaudit.render.numbers import about, counted, value_text

_MOST_NAMES = 4
REFRESH = (
    "It improved beyond noise: refresh the baseline (`shiftaudit baseline update`) so that the gate keeps the gain."
)


def headline(result: GateResult) -> str:
    """The decision in one sentence."""
    failed = [title(verdict) for verdict in result.verdicts if verdict.outcome == FAIL]
    unsure = [title(verdict) for verdict in result.verdicts if verdict.outcome == INCONCLUSIVE]
    images = counted(result.n_images, "image")
    if failed:
        return f"FAIL: {_listed(failed)} {_are(failed)} worse than the gate accepts, judged on {images}"
    if not unsure:
        return f"PASS: nothing is worse than the gate accepts, judged on {images}"
    cannot = "cannot" if result.n_images != 1 else "alone cannot"
    told = f"{images} {cannot} tell whether {_listed(unsure)} {_are(unsure)} worse than the gate accepts"
    return (
        f"PASS, NOT PROVEN: no estimate lies beyond its limit; {told}" if is_quiet(result) else f"INCONCLUSIVE: {told}"
    )


def title(verdict: Verdict) -> str:
    """The metric's name, and what it is judged against where that is not the baseline: `crop.consistency (anchor)`."""
    return f"{verdict.name} ({ANCHOR})" if verdict.rule == ANCHOR else verdict.name


def subject(result: GateResult) -> str:
    """Which model is judged against which."""
    told = f"{result.candidate_model} against the baseline of {result.baseline_model}"
    return told if result.anchor_model is None else f"{told} and its anchor, {result.anchor_model}"


def anchor(result: GateResult) -> str | None:
    """That small drops may have added up unseen, where nothing is known of the first measurement."""
    if result.anchor != "none":
        return None
    return "The baseline has no anchor, so drops may have added up unseen: the next `shiftaudit baseline update` gives it one."


def remarks(result: GateResult) -> list[str]:
    """What is to be said of the whole beside the decision."""
    told = (consequence(result), power(result), anchor(result), REFRESH if result.refresh_baseline else None)
    return [text for text in told if text]


def power(result: GateResult) -> str:
    """The smallest drops that so many images show, by metric: what a pass cannot rule out is said with every verdict."""
    against = [v for v in result.verdicts if v.rule == MARGIN] or list(result.verdicts)
    told: dict[str, str] = {}
    for verdict in against:
        if verdict.rule != DEGENERATE and label(result, verdict) not in told:
            told[label(result, verdict)] = sees(verdict)
    return (
        "In 4 of 5 cases these images show " + "; ".join(f"{name}: {text}" for name, text in told.items())
        if told
        else ""
    )


def sees(verdict: Verdict) -> str:
    """The smallest change that this rule detects: `a drop of 8.1 points`."""
    if verdict.detectable is None:
        return "no drop at all"
    size = (
        f"{_bare(verdict, verdict.detectable, signed=False)}{'' if verdict.name.startswith('stages.') else ' points'}"
    )
    if verdict.relative:
        return f"a {'drop' if verdict.higher_is_better else 'rise'} of {size}"
    return f"{size} beyond the limit"


def consequence(result: GateResult) -> str | None:
    """What an inconclusive gate leads to, None when it is decided."""
    if result.outcome != INCONCLUSIVE:
        return None
    policy = f"--on-inconclusive {result.on_inconclusive}"
    if not result.exit_code:
        return f"Let through ({policy}): exit code 0."
    beyond = [title(verdict) for verdict in result.verdicts if verdict.outcome == INCONCLUSIVE and verdict.beyond]
    if result.on_inconclusive == "fail" or not beyond:
        return f"No verdict ({policy}): exit code {result.exit_code}."
    are = f"{_listed(beyond)} {_are(beyond)}"
    return f"No verdict ({policy}): {are} beyond the limit as far as measured, without proof: exit code {result.exit_code}."


def is_quiet(result: GateResult) -> bool:
    """Whether the gate passes under `evidence` though some rules are undecided: one line says all there is to say."""
    return result.outcome == INCONCLUSIVE and result.on_inconclusive == "evidence" and not result.exit_code


def demand(verdict: Verdict, *, unit: bool = True) -> str:
    """What the rule accepts; for a table without the unit of differences."""
    if verdict.rule == DEGENERATE:
        return f"< {value(verdict, verdict.threshold)}"
    limit = value(verdict, verdict.threshold)
    if verdict.relative:
        word = "drop" if verdict.higher_is_better else "rise"
        bare = _bare(verdict, abs(verdict.threshold), signed=False)
        return f"{word} ≤ {bare}{_unit(verdict) if unit else ''}"
    return f"≥ {limit}" if verdict.rule == FLOOR else f"≤ {limit}"


def finding(verdict: Verdict, *, unit: bool = True) -> str:
    """What was found, with the bounds that decided: `−2.9 points [−4.5, −1.2]`; for a table without its unit."""
    if verdict.rule == DEGENERATE:
        return f"{value(verdict, verdict.candidate)} of the images get one answer"
    if verdict.estimate is None:
        return "–"
    relative = verdict.relative
    low, high = (_bare(verdict, bound, signed=relative) for bound in (verdict.low, verdict.high))
    # Stages are judged by bounds that are read back from intervals which are approximate.
    mark = "" if _is_share(verdict) else about(APPROXIMATE)
    return f"{_bare(verdict, verdict.estimate, signed=relative)}{_unit(verdict) if unit else ''} {mark}[{low}, {high}]"


def sentence(verdict: Verdict) -> str:
    """One verdict as a sentence for a log or an annotation."""
    if verdict.rule == DEGENERATE:
        was, now = value(verdict, verdict.baseline), value(verdict, verdict.candidate)
        told = f"the model gives {now} of the images one answer; the baseline gave {was}"
        return told if verdict.outcome == FAIL else f"{told}, which may be chance; {needed(verdict)}"
    parts = []
    if verdict.relative:
        since = "since the anchor " if verdict.rule == ANCHOR else ""
        parts.append(
            f"{since}{value(verdict, verdict.baseline)} → {value(verdict, verdict.candidate)}, {finding(verdict)}"
        )
    else:
        parts.append(finding(verdict))
    parts.append(f"accepted: {demand(verdict)}")
    if verdict.flips is not None:
        parts.append(flips(verdict))
    if verdict.outcome == INCONCLUSIVE:
        parts.append(needed(verdict))
    parts.append(f"shown in 4 of 5 cases: {sees(verdict)}")
    return "; ".join(parts)


def label(result: GateResult, verdict: Verdict) -> str:
    """The metric's name, with the rule where several rules judge it."""
    several = sum(title(other) == title(verdict) for other in result.verdicts) > 1
    return f"{verdict.name} ({verdict.rule})" if several else title(verdict)


def notes(verdict: Verdict) -> list[str]:
    """What a table has no column for."""
    return [text for text in (needed(verdict) if verdict.outcome == INCONCLUSIVE else "", flips(verdict)) if text]


def flips(verdict: Verdict) -> str:
    """Images whose yes/no outcome changed, empty where the metric is none."""
    if verdict.flips is None:
        return ""
    return f"{verdict.flips.lost} lost, {verdict.flips.gained} gained, McNemar p = {verdict.flips.p_value:.3g}"


def needed(verdict: Verdict) -> str:
    """How many images would decide."""
    if verdict.images_needed is not None:
        return f"about {max(verdict.images_needed, verdict.n_images + 1):,} images would decide"
    if verdict.n_images <= 1:
        return "one image decides nothing"
    if verdict.rule != DEGENERATE and verdict.low is None:
        return "its spread is unknown, so nothing can be said of how many images would decide"
    return "no affordable number of images would decide: it lies on the limit"


def value(verdict: Verdict, amount_: float | None) -> str:
    """A value of the verdict's metric in its unit: per cent, or a plain number for stages."""
    return value_text(verdict.name, amount_)


def _unit(verdict: Verdict) -> str:
    if not _is_share(verdict):
        return ""
    return " points" if verdict.relative else " %"


def _is_share(verdict: Verdict) -> bool:
    return unit_of(verdict.name) == "share"


def _bare(verdict: Verdict, amount_: float | None, *, signed: bool) -> str:
    if amount_ is None:
        return "?"
    amount_, digits = (amount_ * 100, 1) if _is_share(verdict) else (amount_, 4)
    rounded = round(amount_, digits) + 0.0  # no minus before a zero
    text = f"{rounded:+.{digits}f}" if rounded else f"{rounded:.{digits}f}"
    text = text.replace("-", "−")
    return text if signed else text.removeprefix("+")


def _listed(names: Sequence[str]) -> str:
    """Names as in a sentence: all of a few, the first of many."""
    unique = [_name(name) for name in dict.fromkeys(names)]
    if len(unique) > _MOST_NAMES:
        return f"{', '.join(unique[: _MOST_NAMES - 1])} and {len(unique) - _MOST_NAMES + 1} more"
    return unique[0] if len(unique) == 1 else f"{', '.join(unique[:-1])} and {unique[-1]}"


def _are(names: Sequence[str]) -> str:
    return "is" if len(set(names)) == 1 else "are"


def _name(name: str) -> str:
    return "the variety of answers" if name == "degenerate" else name
