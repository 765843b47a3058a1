"""A copy of a module as an fx graph that keeps every key of the state dict and, wherever possible, the train/eval switch."""

from __future__ import annotations

import builtins
import inspect
import operator
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, fx, nn

from shiftaudit.errors import PatchError, first_line
from shiftaudit.models.copies import deep_copy
from shiftaudit.stages.calls import record_calls


class NotFollowedError(PatchError):
    """torch.fx cannot follow a network; another form of it may do."""


class _Tracer(fx.Tracer):
    """Looks inside the modules that hold a downsampling operation in their own code or below; all others stay whole.

    A module that stays whole keeps its own control flow and its own reading of `self.training`. Convolutions with their own code
    and Lp-pools are looked into as well: each is several operations, and a layer may have to go between them. Their sizes are
    often computed from the map's ("same" padding), so `math`, `max` and `min` are recorded as operations are.
    """

    def __init__(self, open_modules: set[str], *, record_buffers: bool = False) -> None:
        # Modules whose functions are recorded as they are called; a network that calls torchvision's has imported them.
        functions: Any = tuple(sys.modules[name] for name in ("math", "torchvision.ops") if name in sys.modules)
        super().__init__(autowrap_modules=functions, autowrap_functions=(max, min))
        self._autowrap_search.append(builtins)  # where the two are looked up
        self.proxy_buffer_attributes = record_buffers
        self.open_modules = open_modules

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, nn.Sequential):
            return False
        is_layer = super().is_leaf_module(m, module_qualified_name) or isinstance(m, nn.Conv2d)
        if is_layer and not has_own_code(m) and not isinstance(m, nn.LPPool2d):
            return True
        return module_qualified_name not in self.open_modules

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **options: Any) -> Any:
        if target is F.lp_pool2d:
            return _lp_pool2d(*args, **kwargs)
        return super().create_proxy(kind, target, args, kwargs, *rest, **options)

    def iter(self, obj: Any) -> Iterator[Any]:
        """Sizes counted from the end, `for side in x.shape[-2:]`, are as many for every map; fx refuses all others."""
        cut = obj.node.args[1] if obj.node.target is operator.getitem else None
        if isinstance(cut, slice) and isinstance(cut.start, int) and cut.start < 0 and cut.stop is cut.step is None:
            return builtins.iter([obj[at] for at in range(-cut.start)])
        return super().iter(obj)


def _lp_pool2d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """`F.lp_pool2d` in its steps: the p-th root of the sum of p-th powers, with the sign that odd powers keep."""
    height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    mean = F.avg_pool2d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return (torch.sign(mean) * F.relu(torch.abs(mean))).mul(height * width).pow(1.0 / norm_type)


def has_own_code(module: nn.Module) -> bool:
    """Whether a convolution is a subclass that computes in its own way: pads, or standardises its weight."""
    kind: Any = type(module)
    ways = (nn.Conv2d.forward, nn.Conv2d._conv_forward)
    return isinstance(module, nn.Conv2d) and (kind.forward, kind._conv_forward) != ways


def trace(module: nn.Module, example: Tensor, opened: frozenset[str] = frozenset()) -> tuple[fx.GraphModule, Any]:
    """A deep copy of `module` as a GraphModule with the same state-dict keys, and what `module` returns for the example.

    `module` itself is untouched; nothing is returned in the second place for a module that is a graph already.

    The graph is the one that runs in eval mode: branches that run in training only (auxiliary classifiers) are not in it,
    their parameters are.

    Args:
        opened: modules to look inside, beside those that hold a downsampling operation.

    Raises:
        PatchError: the module does not run on the example.
        NotFollowedError: it has control flow that fx cannot follow.
    """
    work = independent(module)
    training = {name: child.training for name, child in work.named_modules()}
    evaluating(work)
    graph_module, output = (work, None) if isinstance(work, fx.GraphModule) else _symbolic(work, example, opened)
    _keep_unused_state(work, graph_module)
    _hide_constants(graph_module, set(module.state_dict()))
    for name, child in graph_module.named_modules():
        child.training = training.get(name, training[""])
    return graph_module, output


def _symbolic(work: nn.Module, example: Tensor, opened: frozenset[str]) -> tuple[fx.GraphModule, Any]:
    try:
        with torch.no_grad(), record_calls(work) as calls:
            output = work(example)
    except Exception as error:
        raise PatchError(
            f"the model does not run on an input of shape {tuple(example.shape)}: {first_line(error)}"
        ) from error
    open_modules = {name for call in calls if call.shrinks for name in call.modules} | opened
    convolutions = {name for name, child in work.named_modules() if has_own_code(child)}
    graph = _traced(work, example, open_modules, open_modules - convolutions)
    _drop_fixed_arguments(graph)
    for node in graph.nodes:
        node.type = None  # annotations speak of training too (GoogLeNet's tuple of three), or are text, not types
    return fx.GraphModule(work, graph, type(work).__name__), output


def _traced(work: nn.Module, example: Tensor, open_modules: set[str], or_else: set[str]) -> fx.Graph:
    """The graph that looks inside the modules named; where that cannot be followed, inside those of `or_else` alone.

    fx takes buffers as they are, and a tensor cannot be expanded to a number that was recorded: then they are recorded too.
    """
    failed: list[Exception] = []
    for opened in [open_modules] if or_else == open_modules else [open_modules, or_else]:
        for record_buffers in (False, True):
            tracer = _Tracer(opened, record_buffers=record_buffers)
            try:
                return tracer.trace(work, concrete_args=fixed_arguments(work))
            except Exception as error:
                failed.append(error)
    kind, said = type(failed[0]).__name__, first_line(failed[0])
    message = f"the model's control flow cannot be followed by torch.fx ({kind}: {said})"
    raise NotFollowedError(message) from failed[0]


def independent(module: nn.Module) -> nn.Module:
    """A deep copy, as `deep_copy` makes it.

    Raises:
        PatchError: something in the module cannot be copied.
    """
    try:
        return deep_copy(module)
    except Exception as error:
        raise PatchError(f"the model cannot be copied ({type(error).__name__}: {first_line(error)})") from error


def evaluating(module: nn.Module) -> nn.Module:
    """The module itself in eval mode, without `.eval()`, which exported programs refuse."""
    for child in module.modules():
        child.training = False
    return module


def fixed_arguments(module: nn.Module) -> dict[str, Any]:
    """Arguments of `forward` beside the map that have defaults, by name: a copy is traced for the defaults."""
    if isinstance(module, fx.GraphModule):
        return {}
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    others = list(inspect.signature(module.forward).parameters.values())[1:]
    return {
        other.name: other.default for other in others if other.kind not in variable and other.default is not other.empty
    }


def _drop_fixed_arguments(graph: fx.Graph) -> None:
    """Take out the arguments that were given their defaults, and the checks fx puts on them."""
    placeholders = [node for node in graph.nodes if node.op == "placeholder" and not str(node.target).startswith("*")]
    for placeholder in placeholders[1:]:
        for check in list(placeholder.users):
            for assertion in list(check.users):
                graph.erase_node(assertion)
            graph.erase_node(check)
        graph.erase_node(placeholder)


def _keep_unused_state(source: nn.Module, target: fx.GraphModule) -> None:
    """Give `target` the parameters and buffers no call in the graph uses, so that checkpoints stay interchangeable.

    Second names of one layer are kept too.
    """
    missing = set(source.state_dict()) - set(target.state_dict())
    for name, child in source.named_modules(remove_duplicate=False):
        own = {f"{name}.{key}" if name else key for key in (*child._parameters, *child._buffers)}
        if not own & missing:
            continue
        if name and not any(child.children()):
            target.add_submodule(name, child)
            continue
        holder = _holder(target, name)
        for key, parameter in child._parameters.items():
            if key not in holder._parameters:
                holder.register_parameter(key, parameter)
        for key, buffer in child._buffers.items():
            if key not in holder._buffers:
                holder.register_buffer(key, buffer, persistent=key not in child._non_persistent_buffers_set)


def _hide_constants(target: fx.GraphModule, known: set[str]) -> None:
    """Tensors that fx recorded or copied as buffers of its own get no key in the state dict."""
    for key in set(target.state_dict()) - known:
        owner, _, constant = key.rpartition(".")
        target.get_submodule(owner)._non_persistent_buffers_set.add(constant)


def _holder(target: fx.GraphModule, name: str) -> nn.Module:
    if not name:
        return target
    try:
        return target.get_submodule(name)
    except AttributeError:
        target.add_submodule(name, nn.Module())
        return target.get_submodule(name)


def refuse_quantised(module: nn.Module) -> None:
    """Raises: PatchError where a layer of the module is quantised."""
    for name, child in module.named_modules():
        if "quantized" in type(child).__module__:
            raise PatchError(
                f"{name or 'the model'} is quantised ({type(child).__name__}) and cannot be patched",
                hint="patch the float model, then quantise the copy",
            )


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """All submodules in eval mode inside the block, and as they were after it; exported programs refuse `.eval()`."""
    flags = {child: child.training for child in module.modules()}
    try:
        evaluating(module)
        yield
    finally:
        for child, training in flags.items():
            child.training = training
