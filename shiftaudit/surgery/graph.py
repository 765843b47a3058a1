"""What the surgery asks of a network's graph, however it is stored: a list of ATen calls, and six ways to change it.

The rules (sites, tails, slices, plan, apply) are written once over this interface. torch.fx and TorchScript implement it; so
can any format whose operations can be named after ATen's.

A graph is read into `Call`s first, because the formats differ in what one step is. The case that breaks reading nodes as they
are: `nn.Conv2d(..., padding_mode="circular")` is one node of an fx graph and two calls (a pad, a convolution) of the TorchScript
and exported graphs of the same network; `LayerNorm2d` is one node or three calls, a scripted `x[:, :, ::2]` is three slices where
the traced one is one. As calls they are the same everywhere. What remains of a node is that layers can only be inserted between
nodes: `Call.node` says which calls belong together, and `Graph.can_insert_after` which values can be seen from outside.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, Literal

from torch import Tensor, nn

from shiftaudit.errors import PatchError
from shiftaudit.records.patch import Backend
from shiftaudit.stages.calls import tensors_in

Value = Hashable
"""Names one result within a graph."""
Shape = tuple[int, ...]
Size = tuple[int, int]


class _Computed:
    """Stands where a call's argument is computed while the network runs."""

    def __repr__(self) -> str:
        return "COMPUTED"


COMPUTED: Final = _Computed()


def computed(value: Any, *, whole: bool = False) -> bool:
    """Whether an argument, or an entry of it, is computed while the network runs; with `whole`, not even its length is known."""
    return value is COMPUTED or (not whole and isinstance(value, (list, tuple)) and COMPUTED in value)


@dataclass(frozen=True)
class Layer:
    """The module whose code makes a call."""

    path: str
    """Qualified name, "" for the network itself."""
    kind: str
    """Name of its class."""
    own_code: bool
    """False for the layers of `torch.nn`."""


@dataclass(frozen=True)
class Stored:
    """A tensor that the network holds: a parameter, a buffer or a constant."""

    name: str | None
    """Qualified, None for constants."""
    learned: bool


@dataclass(frozen=True, eq=False)
class Call:
    """One ATen call; or, with the name "", anything else that passes values on (a list, the end of a branch, the output)."""

    name: str
    """`relu` for `aten::relu`, `aten::relu_` and all their overloads."""
    node: Any
    """The graph's own step; several calls may share one."""
    reads: tuple[Value, ...]
    """All values it depends on, tensors in lists included; not sizes."""
    outs: tuple[Value, ...]
    tensors: Mapping[str, Value] = field(default_factory=dict)
    """Tensor arguments by their name in the schema."""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """All other arguments, defaults included; `COMPUTED` where they are not constant."""
    in_place: bool = False
    block: Hashable = ()
    """Of the branch or loop it stands in."""
    layer: Layer | None = None
    indices_used: bool = False
    """Of a pool that returns indices: whether anything reads them."""
    in_blur: bool = False
    """Part of a BlurPool that is there already."""

    @property
    def source(self) -> Value | None:
        """The tensor it reads first."""
        return next(iter(self.tensors.values()), None)


SIZE: Final = "size"
"""Name of the calls that read a tensor's size or rank; `numbers["dims"]` are the dimensions they use, None for all."""


@dataclass(frozen=True)
class NewLayer:
    """A layer to insert: called after its role at a site, `blur_` or `dense_` and the site's name."""

    layer: nn.Module
    role: str
    site: str


class Graph(ABC):
    """One network, run once on an example (N, C, H, W). Pairs are (y, x)."""

    backend: Backend
    calls: Sequence[Call]
    """In program order, those in branches and loops included."""
    notes: tuple[str, ...] = ()
    """What the changed network does differently from the original, beside the filters."""
    copy: Any
    """The network that is changed, with the original's weights under the original's names."""
    output: Any
    """What the original put out."""

    @abstractmethod
    def shape(self, value: Value) -> Shape | None:
        """The size of a tensor when the example ran; None where it did not run."""

    @abstractmethod
    def stored(self, value: Value) -> Stored | None:
        """What the network holds under this value; None for all that is computed."""

    @abstractmethod
    def name(self, call: Call, op: str) -> str:
        """The site's name: its module, with `/op` where the module's own code holds the call. Not unique."""

    @abstractmethod
    def class_name(self, call: Call, stored: Stored) -> str:
        """Name of the class of the module that holds a tensor which the call reads; "" where it is not known."""

    def shares_stride(self, call: Call) -> str | None:
        """The module that holds the call's stride for other calls too."""
        return None

    def why_fixed(self, call: Call) -> str | None:
        """Why the call's own step cannot be changed (only what it reads), or None."""
        return None

    def why_kernel_fixed(self, call: Call) -> str | None:
        """Why `set_kernel` cannot change the convolution, whose weight the network holds for it alone, or None."""
        return None

    @abstractmethod
    def can_insert_after(self, value: Value) -> bool:
        """Whether a layer can be put behind this value."""

    @abstractmethod
    def insert_before(self, calls: Sequence[Call], new: NewLayer) -> None:
        """Let all the calls' steps, which read one tensor first, read the layer's result for it."""

    @abstractmethod
    def insert_after(self, value: Value, new: NewLayer) -> None:
        """Let all that reads the value read the layer's result for it."""

    @abstractmethod
    def set_argument(self, call: Call, name: Literal["stride", "padding"], value: Size) -> None:
        """Change the geometry of a convolution or pool, of this call alone where `shares_stride` says None."""

    def parameter(self, name: str) -> Tensor:
        """What the network holds under a `Stored` name."""
        held: Tensor = attrgetter(name)(self.copy)
        return held

    def set_kernel(self, call: Call, weight: Tensor, padding: Size | None) -> None:
        """Give a convolution another weight (O, I / groups, y, x), and another padding of zeros unless it is None."""
        stored = self.stored(call.tensors["weight"])
        assert stored is not None and stored.name is not None
        owner, _, leaf = stored.name.rpartition(".")
        holder = attrgetter(owner)(self.copy) if owner else self.copy
        setattr(holder, leaf, nn.Parameter(weight, requires_grad=self.parameter(stored.name).requires_grad))
        if padding is not None:
            self.set_argument(call, "padding", padding)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take these weights, under the original's keys, in place of the original's."""
        self.copy.load_state_dict(weights)

    @abstractmethod
    def replace(self, call: Call, new: NewLayer) -> None:
        """Put the layer in the place of the call's step, which reads one tensor; of its results the first remains."""

    @abstractmethod
    def finish(self) -> nn.Module:
        """The changed network, in the original's train/eval mode, after a run on the example.

        Raises:
            PatchError: it does not run, or its output has another shape than the original's.
        """

    def check_shape(self, output: Any) -> None:
        """Refuse an output of the changed network that has another shape than the original's.

        Raises:
            PatchError: it has.
        """
        before, after = ([tensor.shape for tensor in tensors_in(result)] for result in (self.output, output))
        if before != after:
            raise PatchError("the patched network's output has another shape than the original's; nothing was changed")


class Uses:
    """Who makes and who reads each value of a graph."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self.position: dict[Call, int] = {}
        self.makers: dict[Value, Call] = {}
        self._readers: dict[Value, list[Call]] = {}
        for at, call in enumerate(calls):
            self.position[call] = at
            for value in call.outs:
                self.makers.setdefault(value, call)
            for value in dict.fromkeys(call.reads):
                self._readers.setdefault(value, []).append(call)

    def readers(self, value: Value) -> list[Call]:
        """In program order."""
        return self._readers.get(value, [])
