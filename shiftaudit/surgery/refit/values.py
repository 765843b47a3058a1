"""What stands in a tape in the place of a tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


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


@dataclass(frozen=True)
class Norm:
    """A batch-norm with frozen statistics, by the keys of its tensors."""

    weight: str | None
    bias: str | None
    mean: str
    variance: str
    eps: float

    def folded(
        self, weight: Tensor, bias: Tensor | None, tensor: Callable[[Parameter], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Weight (O, …) and bias (O,) of the convolution with the norm in them."""
        scale = (tensor(Parameter(self.variance)) + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * tensor(Parameter(self.weight))
        shift = -tensor(Parameter(self.mean)) if bias is None else bias - tensor(Parameter(self.mean))
        shift = shift * scale
        if self.bias is not None:
            shift = shift + tensor(Parameter(self.bias))
        return weight * scale.view(-1, *[1] * (weight.dim() - 1)), shift
