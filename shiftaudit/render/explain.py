"""The vocabulary as text: one term explained, or all of them listed."""

from __future__ import annotations

import textwrap

from shiftaudit.metrics.definitions import Measure, Term
from shiftaudit.metrics.terms import TERMS
from shiftaudit.metrics.vocabulary import METRICS, lookup


def explain(name: str, width: int = 80) -> str:
    """The definition of one term as text of at most `width` columns.

    Raises:
        InputError: there is no such term.

    >>> print(explain("shift"), end="")
    shift: shift (dy, dx)
    <BLANKLINE>
      A move of the image by dy pixels down and dx pixels right, counted on the
      network's input; negative is up and left.
    <BLANKLINE>
      Definition: (dy, dx) in input pixels
      Moved by:   random ones by the seed, the range, the protocol and the bytes of
                  the image; not by the model, nor by how many images there are or
                  in which order
      Source:     defined here
    """
    term = lookup(name)
    fill = textwrap.TextWrapper(width, initial_indent="  ", subsequent_indent="  ", break_long_words=False)
    hanging = textwrap.TextWrapper(width, subsequent_indent=" " * 14, break_long_words=False)
    title = term.name if term.name.replace("_", " ") == term.label else f"{term.name}: {term.label}"
    facts = {"Definition": term.formula, "Needs": needs(term), "Moved by": term.moved_by, "Source": term.source}
    lines = [hanging.fill(f"  {key + ':':<12}{text}") for key, text in facts.items() if text]
    return "\n".join([title, "", fill.fill(term.text), "", *lines, ""])


def needs(term: Term) -> str | None:
    """What must be given so that a report has the metric; None where every report has it.

    >>> needs(lookup("adjacent_change")), needs(lookup("stable"))
    ('--shifts diagonal or --preset azulay', None)
    """
    if not isinstance(term, Measure):
        return None
    return "labels" if term.needs_labels else "--shifts diagonal or --preset azulay" if term.only_diagonal else None


def overview(width: int = 80) -> str:
    """All terms with the first sentence of what they are, within `width` columns."""
    lines = ["Metrics", *(_line(term, width) for term in METRICS), "", "Terms", *(_line(term, width) for term in TERMS)]
    return "\n".join(lines) + "\n\n`shiftaudit explain NAME` says more of one.\n"


def _line(term: Term, width: int) -> str:
    first = term.text.split(". ")[0].rstrip(".") + "."
    return textwrap.fill(f"  {term.name:<25} {first}", width, subsequent_indent=" " * 28, break_long_words=False)
