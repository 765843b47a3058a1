"""The Jinja2 environment of the page: everything is escaped unless a template wrote it, and nothing may be undefined."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from shiftaudit.metrics.vocabulary import label_of, unit_of
from shiftaudit.render import findings, numbers, sentences, verdict
from shiftaudit.render.characters import clean
from shiftaudit.render.colours import heat, hexadecimal

_SCALE_STEPS = 24
_UNBROKEN = re.compile(
    r"(?<=\d) (?=%|px\b|of \d)|(?<=\d of) (?=\d)|(?<=,) (?=[-+−\d.]+[\])])|(?<= p) (?==)|(?<= p =) (?=\d)"
)


def render_template(name: str, context: Mapping[str, Any]) -> str:
    """The template of this name, filled."""
    return environment().get_template(name).render(context)


@lru_cache(maxsize=1)
def environment() -> Environment:
    """How templates are read, and what they may call.

    >>> environment().from_string('<a title="{{ x }}">{{ x }}</a>').render(x='"<&>')
    '<a title="&#34;&lt;&amp;&gt;">&#34;&lt;&amp;&gt;</a>'
    """
    made = Environment(
        loader=PackageLoader("shiftaudit.render.html"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printed,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # A browser runs the script whose hash this is, and no other, whatever a name from outside may hold.
    script = files("shiftaudit.render.html").joinpath("tables.js").read_text(encoding="utf-8")
    made.filters.update(literal=literal, prose=prose)
    made.globals.update(
        numbers=numbers,
        sentences=sentences,
        verdict=verdict,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        findings=findings,
        label_of=label_of,
        unit_of=unit_of,
        style=Markup(files("shiftaudit.render.html").joinpath("report.css").read_text(encoding="utf-8")),
        scale=[hexadecimal(heat(step / (_SCALE_STEPS - 1))) for step in range(_SCALE_STEPS)],
    )
    return made


def literal(name: str) -> Markup:
    """A name from outside as code, which may break behind its dots, slashes and underscores, and whose direction of
    writing does not touch what stands around it.

    >>> print(literal("a.b<"))
    <code dir="auto">a.<wbr>b&lt;</code>
    """
    parts = re.split(r"(?<=[./_:-])(?=[^./_:-])", clean(name))
    return Markup('<code dir="auto">{}</code>').format(Markup("<wbr>").join(parts))


def prose(text: str) -> Markup:
    """Text whose words in backticks become code, and whose lines break between no number and its unit or bracket.

    >>> print(prose("run `x < 1` now"))
    run <code>x &lt; 1</code> now
    >>> print(prose("87.1 % of pairs [81.4, 91.2], 1 of 8").replace("\N{NO-BREAK SPACE}", "~"))
    87.1~% of pairs [81.4,~91.2], 1~of~8
    """
    parts = enumerate(_UNBROKEN.sub("\N{NO-BREAK SPACE}", clean(text)).split("`"))
    return Markup("").join(Markup("<code>{}</code>").format(part) if index % 2 else part for index, part in parts)


def _printed(value: object) -> object:
    """What an expression of a template prints: text without harmful characters, fractions with four digits.

    Raises:
        TypeError: the value is None, which no reader should see.
    """
    if value is None:
        raise TypeError("a template prints None")
    if isinstance(value, float):
        return f"{value:.4g}"
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value
