"""Consistency as a metric of a validation loop of one's own: updated batch by batch, merged over processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, distributed, nn

from shiftaudit.errors import InputError, ModelError


class ShiftConsistency(nn.Module):
    """The share of agreeing pairs among the shifted views of an image, mean over images: what a report calls consistency.

    It has the methods of a torchmetrics metric (`update`, `compute`, `reset`, a call for one batch's value) and goes along with
    others in a loop over metrics. Its state is whole numbers in buffers, so that it moves with `.to(device)`, is saved with a
    checkpoint, and merges exactly, in any order.

    >>> metric = ShiftConsistency()
    >>> metric.update(torch.tensor([[3, 1], [3, 1], [3, 2]]))  # three views of two images, as classes
    >>> metric.compute().item()  # (3 of 3 pairs + 1 of 3 pairs) / 2 images
    0.6666666666666666
    """

    higher_is_better = True
    n_views: Tensor
    agreeing_pairs: Tensor
    n_images: Tensor
    n_broken: Tensor

    _STATE = ("n_views", "agreeing_pairs", "n_images", "n_broken")

    def __init__(self) -> None:
        super().__init__()
        for name in self._STATE:
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, views: Tensor | Sequence[Tensor]) -> None:
        """Count a batch.

        Args:
            views: the answers to K ≥ 2 shifted views of the same N images: logits (K, N, classes) or a sequence of K tensors
                (N, classes); or classes, as whole numbers of shape (K, N). The unshifted view is none of them.

        Raises:
            InputError: another shape, or another number of views than before.
        """
        answers, broken = _answers(views)
        k, n = answers.shape
        if int(self.n_views) not in (0, k):
            raise InputError(f"update got {k} views of each image, and {int(self.n_views)} before; expected the same")
        same = (answers[:, None] == answers[None]).sum()  # every pair twice, and each view with itself
        self.n_views.fill_(k)
        self.agreeing_pairs += ((same - k * n) // 2).to(self.agreeing_pairs.device)
        self.n_images += n
        self.n_broken += broken.to(self.n_broken.device)

    def compute(self) -> Tensor:
        """The consistency so far, over all processes where `torch.distributed` is initialised: a float64 scalar on the CPU.

        NaN before the first image.

        Raises:
            ModelError: some logits were NaN or infinite: their largest is no answer.
            InputError: processes were given different numbers of views.
        """
        k, pairs, n, broken = self._reduced()
        if broken:
            raise ModelError(f"{broken} answers hold NaN or infinite logits, so they cannot be compared")
        total = n * k * (k - 1) // 2
        return torch.tensor(pairs / total if total else float("nan"), dtype=torch.float64)

    def forward(self, views: Tensor | Sequence[Tensor]) -> Tensor:
        """Count a batch, and give the consistency of this batch alone, in this process."""
        batch = type(self)().to(self.n_views.device)
        batch.update(views)
        self.merge_state(batch)
        total = batch.n_images * batch.n_views * (batch.n_views - 1) / 2
        return batch.agreeing_pairs.cpu().double() / total.cpu()

    def reset(self) -> None:
        """Forget everything."""
        for name in self._STATE:
            getattr(self, name).zero_()

    def merge_state(self, other: ShiftConsistency | Iterable[ShiftConsistency]) -> None:
        """Add what another metric, or several, have counted.

        Raises:
            InputError: they were given other numbers of views.
        """
        others = [other] if isinstance(other, ShiftConsistency) else list(other)
        merged = _merged([self._counts(), *(one._counts() for one in others)])
        for name, value in zip(self._STATE, merged, strict=True):
            getattr(self, name).fill_(value)

    def _counts(self) -> list[int]:
        return [int(getattr(self, name)) for name in self._STATE]

    def _reduced(self) -> list[int]:
        """The counts of all processes; each takes part, also one that saw no image."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return self._counts()
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        mine = torch.tensor(self._counts(), device=device)
        gathered = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
        distributed.all_gather(gathered, mine)
        return _merged([one.tolist() for one in gathered])


def _answers(views: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Classes (K, N), and how many of them are made of logits that are not finite."""
    stacked = views if isinstance(views, Tensor) else torch.stack(list(views)) if len(views) else torch.empty(0)
    is_logits = stacked.is_floating_point()
    if stacked.dim() != (3 if is_logits else 2) or len(stacked) < 2:
        raise InputError(
            f"update got {str(stacked.dtype).removeprefix('torch.')} of shape {tuple(stacked.shape)}; expected logits "
            "(views, images, classes) or whole-number classes (views, images), of two views or more"
        )
    if not is_logits:
        return stacked, torch.zeros((), dtype=torch.int64)
    return stacked.argmax(-1), (~torch.isfinite(stacked).all(-1)).sum()


def _merged(counts: Sequence[Sequence[int]]) -> list[int]:
    used = {k for k, *_ in counts if k}
    if len(used) > 1:
        raise InputError(f"metrics of {' and '.join(map(str, sorted(used)))} views per image cannot be merged")
    return [max(used, default=0), *(sum(column) for column in list(zip(*counts, strict=True))[1:])]
