"""Look up metrics and terms: for `explain`, for the labels of tables, for the HTML page and the docs."""

from __future__ import annotations

import difflib
import textwrap

from shiftaudit.errors import InputError
from shiftaudit.metrics.terms import METRICS, TERMS, Term

BY_NAME: dict[str, Term] = {term.name: term for term in (*METRICS, *TERMS)}
_ALIASES = {
    "flips": "max_flips",
    "js": "js_divergence",
    "error": "equivariance_error",
    "errors": "equivariance_error",
    "filter_size": "blurpool",
    "near_tie": "near_ties",
    "padding": "padding_check",
    "ci": "interval",
    "stages": "stage",
    "by_phase": "phase",
}


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


def explain(name: str, width: int = 80) -> str:
    """The definition of one term as text of at most `width` columns.

    Raises:
        InputError: there is no such term.

    >>> print(explain("shift"), end="")
    shift: shift (dy, dx)
    <BLANKLINE>
      A move of the picture by dy pixels down and dx pixels right, counted on the
      network's input; negative is up and left.
    <BLANKLINE>
      Definition: (dy, dx) in input pixels
      Source:     defined here
    """
    term = lookup(name)
    fill = textwrap.TextWrapper(width, initial_indent="  ", subsequent_indent="  ", break_long_words=False)
    hanging = textwrap.TextWrapper(width, subsequent_indent=" " * 14, break_long_words=False)
    title = term.name if term.name.replace("_", " ") == term.label else f"{term.name}: {term.label}"
    definition = hanging.fill("  Definition: " + term.formula)
    return f"{title}\n\n{fill.fill(term.text)}\n\n{definition}\n{hanging.fill('  Source:     ' + term.source)}\n"


def overview(width: int = 80) -> str:
    """All terms with the first sentence of what they are, within `width` columns."""
    lines = ["Metrics"]
    lines += [_line(term, width) for term in METRICS]
    lines += ["", "Terms"]
    lines += [_line(term, width) for term in TERMS]
    return "\n".join(lines) + "\n\n`shiftaudit explain NAME` says more of one.\n"


def _line(term: Term, width: int) -> str:
    first = term.text.split(". ")[0].rstrip(".") + "."
    return textwrap.fill(f"  {term.name:<25} {first}", width, subsequent_indent=" " * 28, break_long_words=False)


def label_of(metric: str) -> str:
    """The short label of a metric; an unknown metric keeps its own name with spaces."""
    return BY_NAME[metric].label if metric in BY_NAME else metric.replace("_", " ")


def kind_of(metric: str) -> str:
    """`share` or `number`: how a metric's value is printed; unknown ones are plain numbers."""
    return BY_NAME[metric].kind if metric in BY_NAME else "number"
