"""A recovery and an advice on a terminal."""

from __future__ import annotations

from itertools import zip_longest

from rich.console import Console
from rich.text import Text

from shiftaudit.records.advise import Advice, Change, RefitTrial, Trial
from shiftaudit.records.tune import Check, HoldoutScore, TuneRecord
from shiftaudit.records.words import CIRCULAR, CROP, Protocol
from shiftaudit.render.characters import clean
from shiftaudit.render.numbers import counted, number, points_interval
from shiftaudit.render.sentences import ceiling_text
from shiftaudit.render.terminal import Terminal, table, to_text

_PROTOCOLS: tuple[Protocol, ...] = (CROP, CIRCULAR)


def render_tune(record: TuneRecord, terminal: Terminal | None = None) -> str:
    """What the tuning reached: the original, the copy before and after, on the held-out crops."""
    return to_text(lambda console: _draw_tune(console, record), terminal or Terminal())


def render_advice(advice: Advice, terminal: Terminal | None = None) -> str:
    """The trials, best first, and the proposal."""
    return to_text(lambda console: _draw_advice(console, advice), terminal or Terminal())


def check_line(check: Check, steps: int) -> str:
    """One line of progress for stderr.

    >>> score = HoldoutScore(agreement=0.9, consistency_crop=0.8, consistency_circular=0.75)
    >>> check_line(Check(step=50, strength=1.0, loss=1.25, score=score), 100)
    'step 50/100  filter 100 %  loss 1.250  agreement 90.0 %  consistency crop 80.0 %  circular 75.0 %'
    """
    score = check.score
    return (
        f"step {check.step}/{steps}  filter {100 * check.strength:.0f} %"
        + f"  loss {check.loss:.3f}  agreement {_percent(score.agreement)}"
        + f"  consistency crop {_percent(score.consistency_crop)}  circular {_percent(score.consistency_circular)}"
    )


def _draw_tune(console: Console, record: TuneRecord) -> None:
    reached = table("held-out crops", right=("original", "patched", "tuned"))
    scores = (record.original, record.patched, record.tuned)
    for label, field in (
        ("agreement with the original", "agreement"),
        ("consistency, crop", "consistency_crop"),
        ("consistency, circular", "consistency_circular"),
    ):
        reached.add_row(label, *(_percent(getattr(score, field)) for score in scores))
    if record.tuned.accuracy is not None:
        reached.add_row("accuracy", *(_percent(score.accuracy) for score in scores))
    console.print(reached)
    console.print(Text(_what_was_done(record)))
    console.print(Text(_verdict(record.original, record.tuned)))
    if record.holdout_is_training_data:
        console.print(Text("too few images to hold any out: these figures are of the training images", style="yellow"))


def _what_was_done(record: TuneRecord) -> str:
    text = f"{record.steps_done} of {record.steps} steps on {record.n_images} images"
    if record.n_labelled:
        text += f" ({record.n_labelled} labelled)"
    held = 0 if record.holdout_is_training_data else record.n_holdout
    text += f", {held} held out; the state of step {record.best_step} is kept"
    text += ", stopped early: no improvement" if record.stopped != "budget" else ""
    if record.reestimated is not None:
        kept = "kept" if record.tuned == record.reestimated else "worse, so not kept"
        text += f"; batch-norm statistics measured anew: {kept}"
    return text


def _verdict(original: HoldoutScore, tuned: HoldoutScore) -> str:
    gains = [
        tuned.consistency_crop - original.consistency_crop,
        tuned.consistency_circular - original.consistency_circular,
    ]
    if min(gains) > 0:
        return "more consistent than the original under both protocols; `shiftaudit compare` tells whether that is sure"
    if max(gains) > 0:
        return "more consistent than the original under one protocol only"
    return "not more consistent than the original: tune for longer, on more images, or patch fewer sites (`advise`)"


def _draw_advice(console: Console, advice: Advice) -> None:
    base = ", ".join(f"{name} {_percent(value)}" for name, value in advice.original_consistency.items())
    console.print(Text(f"The original on {advice.n_images} images: consistency {base}"))
    console.print(Text("Patched, untrained; consistency and accuracy in points above the original's:"))
    for trial in (*advice.singles, *advice.combined):
        damage = "" if trial.damage is None else f", damage {number(trial.damage)}"
        _draw_trial(console, trial, f"{'' if trial.harmless else 'not '}harmless{damage}")
    console.print()
    console.print(Text("damage: how much probability moves when this stage of the original alone samples elsewhere"))
    console.print(Text(f"harmless: {advice.rule}"))
    if advice.ceiling is not None:
        console.print(Text(ceiling_text(advice.ceiling)))
    console.print(Text(_proposal(advice), style="bold"))
    if advice.refitted:
        _draw_refitted(console, advice.refitted)


def _draw_trial(console: Console, trial: Trial, remark: str) -> None:
    """The sites on a line of their own, since their names may be long, and two lines of values below it."""
    console.print(Text(clean(f" {' + '.join(trial.sites)}: {remark}")))
    left = [(name, _signed(trial.consistency[name])) for name in _PROTOCOLS if name in trial.consistency]
    right = [("agreement", share_text(trial.agreement))]
    right += [] if trial.accuracy is None else [("accuracy", _signed(trial.accuracy))]
    for one, other in zip_longest(left, right, fillvalue=("", "")):
        console.print(Text(f"   {one[0]:<10}{one[1]:<24}{other[0]:<11}{other[1]}".rstrip()))


def _draw_refitted(console: Console, refitted: tuple[RefitTrial, ...]) -> None:
    console.print(Text("\nPatched and refitted:"))
    for one in refitted:
        cost = f"{one.milliseconds_before:.1f} → {one.milliseconds_after:.1f} ms"
        _draw_trial(console, one.trial, f"multiply-adds {one.macs_after / one.macs_before:.2f}×, {cost}")
    console.print()
    console.print(Text(_refit_verdict(refitted), style="bold"))


def _refit_verdict(refitted: tuple[RefitTrial, ...]) -> str:
    best = max(refitted, key=lambda one: (one.trial.harmless and one.trial.gains, one.trial.mean_consistency.value))
    trial = best.trial
    what = (
        f"{counted(len(trial.sites), 'site')} with a refit, on {trial.agreement.n_images} images it was not fitted on"
    )
    gain = f"consistency {_signed(trial.mean_consistency)}, multiply-adds {best.macs_after / best.macs_before:.2f}×"
    if not (trial.harmless and trial.gains):
        return f"with a refit, too: none whose answers stay and whose gain is sure; the best is {what}: {gain}"
    options = " ".join(f"--only '{name}'" for name in trial.sites)
    return f"{what}: {gain}: shiftaudit patch MODEL {options} --refit IMAGES"


def _proposal(advice: Advice) -> str:
    if advice.ceiling is not None and not advice.ceiling.ci_low:
        return "none: these images do not show that a filter could win anything"
    if not advice.proposal or advice.gain is None:
        return "none: no site can be patched without training so that consistency surely rises and the answers stay"
    options = " ".join(f"--only '{name}'" for name in advice.proposal)
    gain = f"consistency {_signed(advice.gain)}"
    return f"patch {len(advice.proposal)} of {len(advice.singles)} sites ({gain}): shiftaudit patch MODEL {options}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def share_text(change: Change) -> str:
    """A share with its interval, in per cent."""
    return f"{100 * change.value:.1f} % {points_interval(change)}".rstrip()


def _signed(change: Change) -> str:
    return f"{100 * change.value:+.1f}".replace("-", "−") + _interval(change)


def _interval(change: Change) -> str:
    if change.ci_low is None or change.ci_high is None:
        return ""
    return f" [{100 * change.ci_low:+.1f}, {100 * change.ci_high:+.1f}]".replace("-", "−")
