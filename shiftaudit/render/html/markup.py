"""HTML from function calls: every string is escaped unless it is already `Html`, so no name can break a page."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Union

VOID = frozenset({"meta", "img", "br", "wbr"})
# Elements of SVG that are closed at once; html5lib and browsers read `<path/>` inside <svg> alike.
SELF_CLOSED = frozenset({"path", "rect", "circle", "line"})

# Characters that turn the direction of the text behind them: with these, `x\u202egpj.exe` looks like `xexe.jpg`.
TURNING = frozenset((*range(0x202A, 0x202F), *range(0x2066, 0x206A)))


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = Union[str, Html, None, "Iterable[Child]"]


def tag(name: str, /, *children: Child, **attributes: str | float | None) -> Html:
    """An element. `class_` stands for `class`, `_` in other names for `-`; None leaves an attribute out.

    >>> tag("p", "a < b", tag("b", "c"), class_="x", aria_label='"')
    '<p class="x" aria-label="&quot;">a &lt; b<b>c</b></p>'
    """
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    opening = name + "".join(f' {key}="{html.escape(_visible(_number(value)))}"' for key, value in pairs)
    if name in SELF_CLOSED:
        return Html(f"<{opening}/>")
    return Html(f"<{opening}>") if name in VOID else Html(f"<{opening}>{join(*children)}</{name}>")


def join(*children: Child) -> Html:
    """Children one after the other, escaped where they are not HTML."""
    return Html("".join(_text(child) for child in children))


def literal(name: str) -> Html:
    """A name from outside as code, which may break behind its dots, slashes and underscores, and whose direction of
    writing does not touch what stands around it.

    >>> literal("a.b<")
    '<code dir="auto">a.<wbr>b&lt;</code>'
    """
    parts = re.split(r"(?<=[./_:-])(?=[^./_:-])", name)
    return tag("code", [[tag("wbr") if index else None, part] for index, part in enumerate(parts)], dir="auto")


def prose(text: str) -> Html:
    """Text whose words in backticks become code.

    >>> prose("run `x < 1` now")
    'run <code>x &lt; 1</code> now'
    """
    return join([tag("code", part) if index % 2 else part for index, part in enumerate(text.split("`"))])


def _text(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str):
        return html.escape(_visible(child), quote=False)
    return join(*child)


def _visible(text: str) -> str:
    """Characters that HTML forbids (control characters, lone surrogates, non-characters), and those that turn the direction
    of writing, so that a name cannot be shown as another one, as replacement characters."""
    return "".join(c if _allowed(ord(c)) else "\N{REPLACEMENT CHARACTER}" for c in text)


def _allowed(code: int) -> bool:
    if code < 32:
        return code in (9, 10)
    if code in TURNING:
        return False
    return not (127 <= code < 160 or 0xD800 <= code < 0xE000 or 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE)


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
