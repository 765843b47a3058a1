"""A network's forward pass as a list of ATen calls that can be stopped, kept and gone on with.

A `TorchDispatchMode` sees every call of eager modules, TorchScript and exported programs alike. Calls that depend on the
input become steps; whatever else they read is a parameter, by its name, or a constant. A pass over many images can then
halt between any two steps, and parameters can be exchanged without touching the module.

A tape holds for one batch size: sizes are constants in it.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from shiftaudit.errors import ModelError
from shiftaudit.stages.calls import tensors_in
from shiftaudit.stages.mode import Mode
from shiftaudit.stages.ops import OpCall
from shiftaudit.surgery.refit.values import Norm, Parameter, Value

CONVOLUTIONS = ("aten::conv2d", "aten::convolution", "aten::_convolution")

_VALUE = "_shiftaudit_value"
_DECIDES = ("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero")


@dataclass(frozen=True, eq=False)
class Step:
    """One call: its function, its arguments with `Value` and `Parameter` in the place of tensors, and its results."""

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[int | None, ...]
    """Numbers of the tensors in the flattened result, None where an item is no tensor."""
    norm: Norm | None = None
    """Of a convolution: the batch-norm behind it, which is computed with it."""
    in_place: Any = None
    """The same function writing into its input, where the step before makes that for this step alone."""

    @property
    def name(self) -> str:
        """`aten::conv2d`, say."""
        return str(self.func._schema.name)

    @cached_property
    def inputs(self) -> list[int]:
        """Numbers of the values read."""
        return [leaf.number for leaf in tree_leaves((self.args, self.kwargs)) if isinstance(leaf, Value)]

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """By name in the order of the schema, defaults included."""
        return OpCall(0, self.name, self.func, self.args, self.kwargs).bound

    def call(self, tensor: Callable[[Any], Any], *, overwrite: bool = False) -> list[Any]:
        """The flattened result, with `tensor` for each `Value` and `Parameter`; `overwrite` lets it write into its input."""
        if self._nested:
            args, kwargs = tree_map(tensor, (self.args, self.kwargs))
        else:  # walking through all arguments takes as long as a small call
            args, kwargs = [tensor(leaf) for leaf in self.args], self.kwargs
        if self.norm is not None:
            args = [args[0], *self.norm.folded(args[1], args[2], tensor), *args[3:]]
        result = (self.in_place if overwrite else self.func)(*args, **kwargs)
        return [result] if isinstance(result, Tensor) else tree_leaves(result)

    @cached_property
    def _nested(self) -> bool:
        """Whether some tensors stand in lists or have names."""
        below = [arg for arg in self.args if not isinstance(arg, (Value, Parameter))]
        return any(isinstance(leaf, (Value, Parameter)) for leaf in tree_leaves((below, self.kwargs)))


@dataclass(frozen=True, eq=False)
class State:
    """A pass that halted before the step `position`, with the values that later steps read."""

    position: int
    values: dict[int, Tensor]

    @property
    def nbytes(self) -> int:
        """Bytes of the storages; one that several values share counts once."""
        storages = {value.untyped_storage().data_ptr(): value.untyped_storage() for value in self.values.values()}
        return sum(storage.nbytes() for storage in storages.values())


@dataclass(eq=False)
class Tape:
    """The steps of one module, and the parameters they read."""

    steps: list[Step]
    parameters: dict[str, Tensor]
    """By state-dict key; exchange an entry and the next pass computes with it. The module keeps its own."""
    entangled: frozenset[str]
    """Parameters that steps read more than once, or otherwise than whole."""
    shapes: dict[int, tuple[int, ...]]
    nbytes: dict[int, int]
    users: dict[int, list[int]] = field(init=False)
    """Steps that read a value, in order."""
    maker: dict[int, int] = field(init=False)
    """The step that computes a value."""

    def __post_init__(self) -> None:
        self.users, self.maker = {}, {}
        for index, step in enumerate(self.steps):
            for number in dict.fromkeys(step.inputs):
                self.users.setdefault(number, []).append(index)
            self.maker |= {number: index for number in step.outputs if number is not None}
        self._mutates = any(step.func._schema.is_mutable for step in self.steps)

    def only_user(self, value: int) -> Step | None:
        """The step that reads a value, where there is one alone."""
        users = self.users.get(value, [])
        return self.steps[users[0]] if len(users) == 1 else None

    def start(self, batch: Tensor) -> State:
        """The state before the first step."""
        return State(0, {0: batch})

    def live(self, position: int) -> list[int]:
        """The values in a state that halts before the step `position`."""
        return [n for n, users in self.users.items() if users[-1] >= position and self.maker.get(n, -1) < position]

    def narrowest(self, first: int, last: int, limit: float) -> int:
        """Where to halt, from `first` to `last`: as late as `limit` bytes allow, or where the state is smallest."""
        sizes = {p: sum(self.nbytes[n] for n in self.live(p)) for p in range(last, first - 1, -1)}
        return next((p for p, size in sizes.items() if size <= limit), min(sizes, key=lambda p: sizes[p]))

    def keep(self, position: int, values: dict[int, Tensor]) -> State:
        """The state before the step `position`.

        Steps that write into their input would change what is kept; one deep copy keeps together what shares memory.
        """
        live = {number: values[number] for number in self.live(position)}
        return State(position, copy.deepcopy(live) if self._mutates else live)


class Pass:
    """One batch on its way through a tape."""

    def __init__(self, tape: Tape, state: State) -> None:
        self.tape = tape
        self.position = self._began = state.position
        self.values = dict(state.values)
        self.kept: State | None = None

    def advance(self, stop: int, keep_at: int = -1) -> None:
        """Go on until before the step `stop`; where `keep_at` is passed, `kept` becomes the state before that step.

        The results of the last step stay in `values`, whether they are read again or not.
        """
        with torch.inference_mode():
            while self.position < stop:
                if self.position == keep_at:
                    self.kept = self.tape.keep(keep_at, self.values)
                self._step(self.position, last=self.position == stop - 1)
                self.position += 1
            if self.position == keep_at:
                self.kept = self.tape.keep(keep_at, self.values)

    def _step(self, position: int, *, last: bool) -> None:
        tape = self.tape
        step = tape.steps[position]
        # What a state holds, the one this pass began with or the one it kept, must stay.
        held = position == self._began or (self.kept is not None and self.kept.position == position)
        results = step.call(self._tensor, overwrite=step.in_place is not None and not held)
        for number, item in zip(step.outputs, results, strict=True):
            if number is not None and (last or number in tape.users):
                self.values[number] = item
        for number in step.inputs:
            if tape.users[number][-1] == position:
                self.values.pop(number, None)

    def _tensor(self, leaf: Any) -> Any:
        if isinstance(leaf, Value):
            return self.values[leaf.number]
        if isinstance(leaf, Parameter):
            whole = self.tape.parameters[leaf.name]
            return whole.t() if leaf.transposed else whole
        return leaf


def record(module: nn.Module, batch: Tensor) -> Tape:
    """Run `module` once, in eval mode, and return the tape.

    Raises:
        ModelError: a decision depends on the values of the input.
    """
    state = {name: value.detach() for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    recorder = _Recorder(state, batch)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it runs a whole encoder layer in one call
    try:
        with torch.inference_mode(), recorder:
            module(recorder.batch)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return recorder.tape()


class _Recorder(Mode):
    def __init__(self, state: Mapping[str, Tensor], batch: Tensor) -> None:
        super().__init__()
        self._state = dict(state)
        self._names = {value.untyped_storage().data_ptr(): name for name, value in state.items() if value.numel()}
        self._steps: list[Step] = []
        self._uses: Counter[str] = Counter()
        self._partly: set[str] = set()
        self._shapes: dict[int, tuple[int, ...]] = {}
        self._nbytes: dict[int, int] = {}
        self.batch = batch.clone()
        self._number(self.batch)

    def tape(self) -> Tape:
        entangled = self._partly | {name for name, count in self._uses.items() if count > 1}
        return Tape(self._steps, self._state, frozenset(entangled), self._shapes, self._nbytes)

    def handle(self, func: Any, args: Any, kwargs: Any) -> Any:
        if not any(hasattr(tensor, _VALUE) for tensor in tensors_in((args, kwargs))):
            return func(*args, **kwargs)
        if func._schema.name in _DECIDES:
            raise ModelError("the network decides by the values of its input, so its layers cannot be refitted")
        plain_args, plain_kwargs = tree_map(self._plain, (args, kwargs))
        result = func(*args, **kwargs)
        numbers = tuple(self._number(leaf) if isinstance(leaf, Tensor) else None for leaf in tree_leaves(result))
        self._steps.append(Step(func, tuple(plain_args), plain_kwargs, numbers))
        return result

    def _number(self, value: Tensor) -> int:
        number = len(self._shapes)
        self._shapes[number], self._nbytes[number] = tuple(value.shape), value.nbytes
        setattr(value, _VALUE, number)
        return number

    def _plain(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        number = getattr(leaf, _VALUE, None)
        if number is not None:
            return Value(number)
        name = self._names.get(leaf.untyped_storage().data_ptr()) if leaf.numel() else None
        if name is None:
            return leaf
        self._uses[name] += 1
        whole = self._state[name]
        if _same_view(leaf, whole):
            return Parameter(name)
        if whole.dim() == 2 and _same_view(leaf, whole.t()):
            return Parameter(name, transposed=True)
        self._partly.add(name)
        return leaf


def _same_view(a: Tensor, b: Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride()
