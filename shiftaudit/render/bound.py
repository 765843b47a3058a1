"""A search for a copy within a bound on a terminal: what was tried on the held-out images, and what came of it."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from shiftaudit.records.advise import Change
from shiftaudit.records.bound import Candidate, Search
from shiftaudit.render.characters import clean
from shiftaudit.render.numbers import counted
from shiftaudit.render.terminal import Terminal, table, to_text

_SHOWN = 3


def render_search(search: Search, terminal: Terminal | None = None) -> str:
    """The chosen copy and the ones beside it; without one the three best, by gain where they are within the bound."""
    return to_text(lambda console: _draw(console, search), terminal or Terminal())


def verdict(search: Search) -> str:
    """What the search came to, as one sentence without its full stop.

    A copy that is within the bound and not surely more consistent is named as such.
    """
    held = f"{search.n_held} held-out images"
    if search.chosen is not None:
        one = search.candidates[search.chosen]
        return (
            f"{search.measure} falls by {_percent(one.harm.value)}, and by at most {_percent(one.harm.ci_high)} with 95 % "
            f"confidence on {held}; consistency rises by {_percent(one.gain.value)}"
        )
    if any(one.verified for one in search.candidates):
        return f"no copy within the bound is surely more consistent than the original, on {held}"
    return f"no copy is verified to lose at most {_percent(search.max_drop)} in {search.measure}, on {held}"


def _draw(console: Console, search: Search) -> None:
    done = f"{search.n_fitted} of {search.n_planned} copies refitted on {search.n_fitting} images"
    tested = f"{len(search.candidates)} tested on {search.n_held} held-out images"
    console.print(Text(f"{done}, {tested}", style="bold"))
    protocols = "both protocols" if search.goal == "both" else search.goal
    console.print(
        Text(
            f"The original there: {search.measure} {_percent(search.original_measure)}, consistency under {protocols} "
            f"{_percent(search.original_consistency)}"
        )
    )
    changes = (f"{search.measure} falls by %", "consistency rises by %")
    tried = table(right=("sites", "filter", "strength", *changes, "MMACs", "verified"))
    shown = _shown(search)
    for one in shown:
        tried.add_row(*_cells(one))
    console.print(tried)
    for sites in dict.fromkeys(one.sites for one in shown):
        console.print(Text(clean(f"{counted(len(sites), 'site')}: {', '.join(sites)}")))
    console.print(
        Text(f"Each end of the interval of {search.measure} holds with 95 % confidence; consistency: 95 % interval.")
    )
    console.print(Text(clean(verdict(search)) + "."))


def _shown(search: Search) -> list[Candidate]:
    chosen = [] if search.chosen is None else [search.candidates[search.chosen]]
    others = [one for one in search.candidates if one not in chosen]
    others.sort(key=lambda one: (not one.verified, -one.gain.value if one.verified else one.harm.value))
    return [*chosen, *others][:_SHOWN]


def _cells(one: Candidate) -> tuple[str, ...]:
    return (
        str(len(one.sites)),
        str(one.filter_size),
        f"{one.strength:g}",
        _interval(one.harm),
        _interval(one.gain),
        f"{one.macs / 1e6:.1f}",
        "yes" if one.verified else "no",
    )


def _interval(change: Change) -> str:
    low, high = ("" if end is None else f"{100 * end:.1f}" for end in (change.ci_low, change.ci_high))
    return f"{100 * change.value:.1f} [{low}, {high}]"


def _percent(value: float | None) -> str:
    """
    >>> _percent(0.0125), _percent(None)
    ('1.2 %', '')
    """
    return "" if value is None else f"{100 * value:.1f} %"
