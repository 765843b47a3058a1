"""An image that comes twice is no new evidence, whether two files hold it or two machines scored it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from shiftaudit.records.report import Skipped

T = TypeVar("T")


def without_duplicates(items: Iterable[T], identify: Callable[[T], tuple[str, str] | None]) -> Iterator[T | Skipped]:
    """Skip each item whose image's bytes have come before: it is no new evidence.

    Files are read once that way, and rows of other processes and machines are put together.

    Args:
        items: decoded images, or their scores, among files that were skipped already.
        identify: an item's hash and path; None for a file that was skipped.

    >>> list(without_duplicates(["ab1", "cd2", "ab3"], lambda item: (item[:2], item)))
    ['ab1', 'cd2', Skipped(path='ab3', reason='same bytes as ab1')]
    """
    first: dict[str, str] = {}
    for item in items:
        identified = identify(item)
        if identified is None:
            yield item
            continue
        identity, path = identified
        if identity in first:
            yield Skipped(path, f"same bytes as {first[identity]}")
        else:
            first[identity] = path
            yield item
