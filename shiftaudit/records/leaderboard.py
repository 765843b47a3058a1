"""Many models on the same images: one entry a report, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shiftaudit.records.metric import Metric
from shiftaudit.records.report import AuditReport
from shiftaudit.records.words import PROTOCOLS

PER_PROTOCOL = ("consistency", "accuracy_shifted")


@dataclass(frozen=True)
class Entry:
    """One model."""

    model: str
    weights: str | None = None
    n_images: int = 0
    metrics: dict[str, Metric] | None = None
    """`accuracy`, and `crop.consistency` and the like, those that were measured; None where the model failed."""
    degenerate: bool = False
    failure: str | None = None
    """Why there is no report."""
    protocol_hash: str | None = None
    manifest_sha256: str | None = None

    def metric(self, name: str) -> Metric | None:
        """The metric of this name, None where it was not measured."""
        return (self.metrics or {}).get(name)


@dataclass(frozen=True)
class Leaderboard:
    """Models side by side, the most consistent first, failures last."""

    entries: tuple[Entry, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The metrics that any entry has, in their order."""
        names = ["accuracy", *(f"{protocol}.{name}" for protocol in PROTOCOLS for name in PER_PROTOCOL)]
        return tuple(name for name in names if any(entry.metric(name) for entry in self.entries))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the entries unequal to each other."""
        measured = [entry for entry in self.entries if entry.failure is None]
        warnings = []
        if len({entry.manifest_sha256 for entry in measured}) > 1:
            warnings.append("the models were scored on different images")
        if len({entry.protocol_hash for entry in measured}) > 1:
            warnings.append("the models were scored under different protocols, or have inputs of different sizes")
        warnings += [f"{entry.model} gives (nearly) all images one answer" for entry in measured if entry.degenerate]
        return tuple(warnings)


def entry_of(report: AuditReport, model: str | None = None) -> Entry:
    """What a leaderboard shows of a report; `model` is its name there."""
    metrics: dict[str, Metric] = {}
    for protocol, result in report.protocols.items():
        metrics.update({f"{protocol}.{name}": result.metrics[name] for name in PER_PROTOCOL if name in result.metrics})
        if "accuracy" in result.metrics:
            metrics.setdefault("accuracy", result.metrics["accuracy"])
    return Entry(
        model=model or report.model.source,
        weights=report.model.weights,
        n_images=report.data.n_images,
        metrics=metrics,
        degenerate=report.degenerate,
        protocol_hash=report.protocol.protocol_hash,
        manifest_sha256=report.data.manifest_sha256,
    )


def ranked(entries: Sequence[Entry]) -> Leaderboard:
    """The entries by their consistency under the last protocol that any has: real pixels come in there, as in life."""
    names = [f"{protocol}.consistency" for protocol in reversed(PROTOCOLS)]
    name = next((name for name in names if any(entry.metric(name) for entry in entries)), names[0])

    def place(entry: Entry) -> tuple[bool, float, str]:
        metric = entry.metric(name)
        value = None if metric is None else metric.value
        return entry.failure is not None, -(value if value is not None else -1.0), entry.model

    return Leaderboard(tuple(sorted(entries, key=place)))
