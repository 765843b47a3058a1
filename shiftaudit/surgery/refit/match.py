"""Which layer of the copy is fitted to which of the original, and which are left."""

from __future__ import annotations

from dataclasses import dataclass

from shiftaudit.errors import ModelError
from shiftaudit.records.refit import LeftLayer, RefitLayers
from shiftaudit.surgery.refit.layers import Layer, find_layers
from shiftaudit.surgery.refit.rows import Grid, grid_of
from shiftaudit.surgery.refit.tape import Tape

WIDEST = 8192
"""Numbers that a layer may read for one of its outputs: the equations of this many take 2 GiB, and minutes to solve."""


@dataclass(frozen=True, eq=False)
class Match:
    """One layer in both networks, and where their outputs are compared."""

    copy: Layer
    original: Layer
    grid: Grid

    @property
    def name(self) -> str:
        """State-dict key of the weight."""
        return self.copy.name


def match_layers(copy: Tape, original: Tape, layers: RefitLayers) -> tuple[list[Match], list[LeftLayer]]:
    """Pairs of layers with the same weight, in the copy's order of execution, and the layers left out, with reasons.

    Raises:
        ModelError: the networks are not the same but for the patch.
    """
    _check_same(copy, original)
    theirs = {layer.name: layer for layer in find_layers(original)}
    matches, left = [], []
    chosen = chosen_layers(find_layers(copy), layers)
    if not chosen:
        raise ModelError(
            "no convolution or linear layer with weights of its own was found, so there is nothing to refit"
        )
    for layer in chosen:
        reason, grid = "the original reads this weight in another way", None
        other = theirs.get(layer.name)
        if other is not None and (bool(layer.norm), layer.skip) == (bool(other.norm), other.skip):
            reason = "its output has another size than the original's"
            shapes = copy.shapes[layer.anchor], original.shapes[other.anchor], copy.shapes[layer.output]
            grid = grid_of(layer, *shapes)
        width = copy.parameters[layer.name][0].numel()
        if width > WIDEST:
            left.append(
                LeftLayer(layer.name, f"it reads {width} numbers at once, and {WIDEST} are the most that can be fitted")
            )
        elif other is None or grid is None:
            left.append(LeftLayer(layer.name, reason))
        else:
            matches.append(Match(layer, other, grid))
    return matches, left


def chosen_layers(found: list[Layer], layers: RefitLayers) -> list[Layer]:
    """The layers to fit.

    Projections are layers whose output goes on without an activation or is added to a skip. The head is what follows the
    last of them but the classifier. A network without any but the classifier is all head.
    """
    if layers == "all":
        return found
    projections = [index for index, layer in enumerate(found) if layer.skip or not layer.activated]
    head = projections[-2] if len(projections) > 1 else 0
    return [layer for index, layer in enumerate(found) if index in projections or index >= head]


def _check_same(copy: Tape, original: Tape) -> None:
    ours, theirs = ({name: value.shape for name, value in tape.parameters.items()} for tape in (copy, original))
    odd = [name for name in (*ours, *theirs) if ours.get(name) != theirs.get(name)]
    if odd:
        raise ModelError(
            f"the original is another network: {len(odd)} of its weights differ in name or shape, the first is {odd[0]}",
            hint="--teacher must be the very model that was patched",
        )
