"""The tail of a convolution: the norms and the activation behind it, so that the blur can go behind them.

A tail is a row of steps. A norm may fork and join inside (`(x - mean) / std` reads its map three times), so a step is a region
of pointwise calls that is left by one value. An activation ends the tail and reads its map alone, or is `y * sigmoid(y)`, as
ONNX files and older networks have SiLU. The case that breaks the naive way: in `y = bn(conv(x)); return y * tanh(y)` the fork is
a gate of the network's own, not a norm, and the blur belongs in front of it; `y` is then filtered once, for both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from shiftaudit.stages.names import owner_of
from shiftaudit.surgery.graph import Call, Graph, Uses, Value
from shiftaudit.surgery.pointwise import ACTIVATIONS, USUAL, Layout, carried, is_norm, label, reads_only_size


@dataclass(frozen=True)
class Tail:
    """What follows an operation."""

    end: Value
    """Of the last step; the operation's own where there is none."""
    names: tuple[str, ...] = ()
    inside: Call | None = None
    """What goes on with it inside a step of the graph, where no layer can be inserted."""


@dataclass(frozen=True)
class _Step:
    end: Value
    calls: tuple[Call, ...]


def find_tail(value: Value, graph: Graph, uses: Uses) -> Tail:
    """The longest tail behind a 4-D map at whose end a layer can be inserted."""
    tail, names = Tail(value), list[str]()
    while (step := _next_step(value, graph, uses, bool(names))) is not None:
        value = step.end
        names += _names(step, graph)
        tail = Tail(value, tuple(names)) if graph.can_insert_after(value) else replace(tail, inside=step.calls[-1])
        if step.calls[0].name in ACTIVATIONS:
            break
    return tail


def _next_step(value: Value, graph: Graph, uses: Uses, after_norm: bool) -> _Step | None:
    """The next activation or norm, or what scales and shifts the norm before it."""
    layouts: dict[Value, Layout] = {value: USUAL}
    readers = _readers(value, layouts, uses)
    if len(readers) == 1 and readers[0].name in ACTIVATIONS:
        inside = _inside(readers[0], uses.makers[value]) and carried(readers[0], layouts, graph) is not None
        return _Step(readers[0].outs[0], (readers[0],)) if inside else None
    if (silu := _silu(value, readers, graph, uses)) is not None:
        return silu
    calls: list[Call] = []
    waiting = readers
    while waiting:
        call = min(waiting, key=uses.position.__getitem__)
        layout = carried(call, layouts, graph) if _inside(call, uses.makers[value]) else None
        if layout is None or call.name in ACTIVATIONS:
            return None
        calls.append(call)
        end = call.outs[0]
        layouts[end] = layout
        further = _readers(end, layouts, uses)
        waiting = [one for one in waiting if one is not call]
        if not waiting and layout == USUAL and _closes(calls, after_norm) and graph.shape(end) == graph.shape(value):
            return _Step(end, tuple(calls))
        waiting += [one for one in further if one not in waiting]
    return None


def _silu(value: Value, readers: list[Call], graph: Graph, uses: Uses) -> _Step | None:
    """`y * sigmoid(y)`, where nothing else reads either of the two."""
    if sorted(call.name for call in readers) != ["mul", "sigmoid"]:
        return None
    sigmoid, product = sorted(readers, key=lambda call: call.name == "mul")
    gate = sigmoid.outs[0]
    alone = not sigmoid.in_place and uses.readers(gate) == [product] and set(product.reads) == {value, gate}
    inside = all(_inside(call, uses.makers[value]) for call in readers) and graph.shape(gate) == graph.shape(value)
    return _Step(product.outs[0], (sigmoid, product)) if alone and inside else None


def _readers(value: Value, layouts: dict[Value, Layout], uses: Uses) -> list[Call]:
    return [call for call in uses.readers(value) if not reads_only_size(call, layouts[value])]


def _inside(call: Call, maker: Call) -> bool:
    return bool(call.name) and call.block == maker.block


def _closes(calls: list[Call], after_norm: bool) -> bool:
    return after_norm or any(map(is_norm, calls))


def _names(step: _Step, graph: Graph) -> list[str]:
    """The module that holds the step's weights, or its class where the name is a bare index; else what the step computes."""
    if not any(call.name in ACTIVATIONS or is_norm(call) for call in step.calls):
        return []
    if [call.name for call in step.calls] == ["sigmoid", "mul"]:
        return ["silu"]
    for call in step.calls:
        for value in call.tensors.values():
            stored = graph.stored(value)
            if stored is not None and stored.name is not None and "." in stored.name:
                name = owner_of(stored.name).rpartition(".")[2]
                return [graph.class_name(call, stored) or label(call)] if name.isdigit() else [name]
    return [label(next(call for call in step.calls if call.name in ACTIVATIONS or is_norm(call)))]
