"""What stands in a tape in the place of a tensor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Value:
    """A tensor that depends on the input, by its number in the order of computation; 0 is the input."""

    number: int


@dataclass(frozen=True)
class Parameter:
    """A parameter or buffer, by its state-dict key."""

    name: str
    transposed: bool = False
    """The (I, O) view of a matrix (O, I)."""
