"""What a traced copy of an eager network no longer has: hooks of modules that are taken apart, regions of autocast."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType, FunctionType

import torch
from torch import fx, nn

_MOST = 4
"""Modules that a note names."""


def lost(original: nn.Module, copy: fx.GraphModule) -> tuple[str, ...]:
    """Notes on what the copy does not do. Where the graph calls a module whole, its hooks and its code still run."""
    whole = {str(node.target) for node in copy.graph.nodes if node.op == "call_module"}
    opened = {
        name: module
        for name, module in original.named_modules()
        if not any(name == one or name.startswith(f"{one}.") for one in whole)
    }
    hooked = [name or "the network" for name, module in opened.items() if _has_hooks(module)]
    names = [{name for code in _codes(module) for name in _globals(code)} for module in opened.values()]
    cast = [name or "the network" for name, used in zip(opened, names, strict=True) if "autocast" in used]
    modules = zip(opened.items(), names, strict=True)
    custom = [name or "the network" for (name, module), used in modules if _has_function(module, used)]
    return tuple(
        f"{what} ({', '.join(found[:_MOST])}{', …' if len(found) > _MOST else ''}) {end}"
        for found, what, end in (
            (hooked, "forward hooks", "are not called by the copy, which has what they computed alone"),
            (cast, "regions of torch.autocast", "are not in the copy: run it inside one"),
            (custom, "gradients of an autograd.Function", "are not in the copy: it has those of the operations inside"),
        )
        if found
    )


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _codes(module: nn.Module) -> Iterator[CodeType]:
    """The code of a module's methods, those of torch's own classes left out."""
    for kind in type(module).__mro__:
        if not kind.__module__.startswith("torch."):
            yield from (value.__code__ for value in vars(kind).values() if isinstance(value, FunctionType))


def _globals(code: CodeType) -> set[str]:
    loads = ("LOAD_GLOBAL", "LOAD_ATTR", "LOAD_METHOD")
    return {str(one.argval) for one in dis.get_instructions(code) if one.opname in loads}


def _has_function(module: nn.Module, names: set[str]) -> bool:
    """Whether a module's code names a class that brings its own gradient."""
    forwards = [vars(kind).get("forward") for kind in type(module).__mro__]
    scopes = [forward.__globals__ for forward in forwards if isinstance(forward, FunctionType)]
    found = [scope[name] for scope in scopes for name in names if name in scope]
    return any(isinstance(value, type) and issubclass(value, torch.autograd.Function) for value in found)
