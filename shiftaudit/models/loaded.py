"""A model that is ready to be audited: a callable from a batch of images to logits, and what is known of it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from shiftaudit.errors import InputError, ModelError
from shiftaudit.models.copies import deep_copy
from shiftaudit.models.guard import interrupts_kept, stdout_to_stderr
from shiftaudit.models.preprocessing import preset
from shiftaudit.models.runner import Runner, RunnerModule
from shiftaudit.records.bound import Search
from shiftaudit.records.digits import whole_number
from shiftaudit.records.patch import PatchRecord
from shiftaudit.records.refit import RefitRecord
from shiftaudit.records.report import TAUGHT_DIGITS, ModelInfo, Preprocessing
from shiftaudit.records.tune import TuneRecord

LOGIT_KEYS = ("logits", "out")
_INPUT_HINT = "check --size, --channels and the model's own requirements"


@dataclass(frozen=True)
class LoadedModel:
    """Call it with (N, C, S, S) normalised images to get float32 logits (N, classes)."""

    module: nn.Module
    info: ModelInfo
    class_names: tuple[str, ...] | None = None
    output: str | None = None
    fixed_batch: int | None = None
    """The only batch size the file accepts, None for any. Smaller batches are filled up by repeating the last image."""
    runtime: nn.Module | None = None
    """What answers in the place of `module`, which is there for its feature maps: ONNX Runtime, for ONNX files."""
    channels_first: bool = False
    """Whether its input must lie in memory as it is written, (N, C, H, W): a `.view()` behind the last map asks for that."""
    patch_record: PatchRecord | None = None
    search_record: Search | None = None
    refit_record: RefitRecord | None = None
    tune_record: TuneRecord | None = None
    seen_classes: set[int] = field(default_factory=set, repr=False, compare=False)
    """How many classes its answers had, in all its forms: one number, or it is refused."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How pixels become the input."""
        return self.info.preprocessing

    @property
    def unseen(self) -> str | None:
        """Why its feature maps cannot be seen; None where they can."""
        return self.module.unseen if isinstance(self.module, RunnerModule) else None

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        preprocessing: Preprocessing | None = None,
        *,
        class_names: tuple[str, ...] | None = None,
    ) -> LoadedModel:
        """Wrap a module of your own. It is copied and the copy put into eval mode, so yours stays as it is.

        Raises:
            InputError: `module` is not an nn.Module, or has lazy layers that have never run.
        """
        if not isinstance(module, nn.Module):
            raise InputError(f"expected an nn.Module, got {type(module).__name__}")
        refuse_lazy(module)
        own = _eval_copy(module)
        info = ModelInfo(
            source=type(module).__name__,
            kind="module",
            sha256=state_sha256(own),
            arch=type(module).__name__,
            weights=None,
            preprocessing=preprocessing or preset(input_channels(own)),
        )
        return cls(own, info, class_names)

    @classmethod
    def from_runner(
        cls, runner: Runner | RunnerModule, preprocessing: Preprocessing | None = None, *, source: str | None = None
    ) -> LoadedModel:
        """Wrap what answers images without being a network.

        Args:
            source: what the user called it; the runner's name by default.

        Raises:
            InputError: the runner's `classes` or `batch_size` are none.
        """
        module = runner if isinstance(runner, RunnerModule) else RunnerModule(runner)
        used = preprocessing or preset(3)
        info = ModelInfo(source or module.name, "runner", None, module.name, None, used)
        return cls(module, info, module.classes, fixed_batch=module.fixed_batch)

    @property
    def taught_on(self) -> tuple[str, ...]:
        """What `ModelInfo.taught_on` says."""
        records = (record for record in (self.refit_record, self.tune_record) if record is not None)
        return tuple(sorted({one[:TAUGHT_DIGITS] for record in records for one in record.image_sha256}))

    def with_module(self, module: nn.Module, **changes: Any) -> LoadedModel:
        """The model with another network; what answered in the place of this one goes."""
        return replace(self, module=module, runtime=None, **changes)

    def answering(self) -> LoadedModel:
        """The model in the form whose answers are its own."""
        return self if self.runtime is None else self.with_module(self.runtime)

    def to(self, device: str) -> LoadedModel:
        """The same model on `device`."""
        return replace(self, module=self.module.to(device))

    def example_input(self, batch: int | None = None) -> Tensor:
        """Zeros in the shape of the input, (batch, C, S, S), on the CPU; by default as few images as the file accepts."""
        used = self.preprocessing
        return torch.zeros(batch or self.fixed_batch or 1, used.channels, used.size, used.size)

    def random_input(self) -> Tensor:
        """Random numbers instead of zeros, the same at every call, of the weights' type and where they are."""
        weight = next((p for p in self.module.parameters() if p.is_floating_point()), torch.zeros(()))
        return torch.randn(self.example_input().shape, generator=torch.Generator().manual_seed(0)).to(weight)

    def __call__(self, batch: Tensor) -> Tensor:
        n, step = len(batch), self.fixed_batch
        batch = batch.to(self.dtype)
        batch = batch.contiguous() if self.channels_first else batch
        if step is None:
            return self.logits_of(self._run(batch), n)
        if n % step:
            # One gather, where a slice and a concatenation would do: stages are found by counting those, and a full batch
            # must count as many as one that was filled up.
            rows = torch.arange(n + step - n % step, device=batch.device).clamp_(max=n - 1)
            batch = batch.index_select(0, rows)
        groups = [self.logits_of(self._run(group), step) for group in batch.split(step)]
        return torch.cat(groups)[:n]

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in, and its images are given as."""
        return next((p.dtype for p in self.module.parameters() if p.is_floating_point()), torch.float32)

    def _run(self, batch: Tensor) -> Any:
        try:
            with stdout_to_stderr(), interrupts_kept():
                return self.module(batch)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            what, kind = last_line(error), type(error).__name__
            # TorchScript's own last line names the error's type already.
            what = what if what.startswith(kind) else f"{kind}: {what}"
            raise ModelError(
                f"the model failed on a batch of shape {tuple(batch.shape)}: {what}",
                hint="try a smaller --batch-size" if "memory" in what else _INPUT_HINT,
            ) from error

    def logits_of(self, out: Any, batch: int) -> Tensor:
        """Float32 logits (batch, classes) among whatever the module returned for a batch.

        Raises:
            ModelError: there is no such tensor, or it has other classes than before.
            InputError: no output has the name asked for.
        """
        logits = _logits(out, self.output, batch).float()
        self.seen_classes.add(logits.shape[-1])
        if len(self.seen_classes) > 1:
            raise ModelError(
                f"the model returned {logits.shape[-1]} classes, and another number before",
                hint="a classifier has the same classes for every image",
            )
        return logits


def refuse_lazy(module: nn.Module) -> None:
    """Raise InputError for a network without weights: with lazy layers that have never run, or on the meta device."""
    tensors = list(itertools.chain(module.parameters(), module.buffers()))
    if any(tensor.is_meta for tensor in tensors):
        raise InputError(f"{type(module).__name__} has tensors without values, on the meta device")
    if any(map(is_lazy, tensors)):
        raise InputError(
            f"{type(module).__name__} has lazy layers without weights", hint="run it once on a batch of images first"
        )


def _eval_copy(module: nn.Module) -> nn.Module:
    try:
        own = deep_copy(module)
    except Exception as error:
        raise InputError(f"{type(module).__name__} cannot be copied: {last_line(error)}") from error
    return in_eval_mode(own)


def in_eval_mode(module: nn.Module) -> nn.Module:
    """The module itself, put into eval mode; an exported program has one mode, the one it was exported in."""
    with contextlib.suppress(NotImplementedError):
        module.eval()
    return module


def last_line(error: BaseException) -> str:
    """The line of an error that says what went wrong; TorchScript puts it at the end of a long account."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return "(no message)"
    told = [line for line in lines if not line.endswith(":")] or lines
    named = [line for line in told if line.split(":")[0].endswith(("Error", "Exception"))]
    return (named[-1] if named else told[0])[:300]


def _logits(out: Any, key: str | None, batch: int) -> Tensor:
    candidates = [_flat(tensor) for tensor in _candidates(out, key)]
    for tensor in candidates:
        if tensor.dim() == 2 and tensor.shape[0] == batch and tensor.shape[1] > 1 and tensor.is_floating_point():
            return tensor
    shapes = " and ".join(f"{tuple(tensor.shape)}" for tensor in candidates[:4])
    raise ModelError(
        f"the model returned {shapes or type(out).__name__} for a batch of {batch}; expected logits ({batch}, classes)",
        hint="name the logits with --output KEY; segmentation, detection and one-output models cannot be scored",
    )


def _flat(tensor: Tensor) -> Tensor:
    """Without the 1×1 space that fully convolutional classifiers leave, and in floating point."""
    while tensor.dim() > 2 and tensor.shape[-1] == 1:
        tensor = tensor.squeeze(-1)
    return tensor.dequantize() if tensor.is_quantized else tensor


def _candidates(out: Any, key: str | None) -> list[Tensor]:
    """The tensors that may be the logits: the one asked for, or named so, else all in order."""
    if isinstance(out, Tensor):
        if key is not None:
            raise InputError(f"--output got {key!r}, but the model returns a single tensor", hint="leave it out")
        return [out]
    named = dict(_outputs(out))
    if key is None:
        return next(([named[name]] for name in LOGIT_KEYS if name in named), list(named.values()))
    if key in named:
        return [named[key]]
    index = whole_number(key)
    if index is not None and index < len(named):
        return [list(named.values())[index]]
    raise InputError(f"--output got {key!r}; the model returns {', '.join(named) or 'no tensors'}")


def _outputs(out: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors of an output by name: keys of a mapping, fields of a named tuple or record, positions of a sequence."""
    if isinstance(out, Mapping):
        items = [(str(name), value) for name, value in out.items()]
    elif hasattr(out, "_fields"):
        items = [(name, getattr(out, name)) for name in out._fields]
    elif dataclasses.is_dataclass(out):
        items = [(field.name, getattr(out, field.name)) for field in dataclasses.fields(out)]
    elif isinstance(out, (tuple, list)):
        items = [(str(position), value) for position, value in enumerate(out)]
    else:
        items = list(vars(out).items()) if hasattr(out, "__dict__") and not isinstance(out, Tensor) else []
    return ((name, value) for name, value in items if isinstance(value, Tensor))


def state_sha256(module: nn.Module) -> str:
    """SHA-256 of a state dict: names, shapes, types and bytes, in order."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        if not isinstance(tensor, Tensor):
            continue
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        values = tensor.int_repr() if tensor.is_quantized else tensor.detach()
        values = values.to_dense() if values.layout != torch.strided else values
        digest.update(values.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def input_channels(module: nn.Module) -> int:
    """Channels of the first convolution's input, 3 where there is none to tell or it reads something else than an image."""
    for name, tensor in module.state_dict().items():
        if name.endswith("weight") and isinstance(tensor, Tensor) and tensor.dim() == 4:
            return int(tensor.shape[1]) if tensor.shape[1] in (1, 3) else 3
    return 3
