"""Measures for the dashboards and model cards that people have: JSON for github-action-benchmark, YAML for Hugging Face cards."""

from __future__ import annotations

import json
from collections.abc import Iterator

from shiftaudit.metrics.vocabulary import label_of, unit_of
from shiftaudit.records.gate import GateResult
from shiftaudit.records.report import AuditReport, Metric

_SHOWN = ("consistency", "agreement_with_unshifted", "stable", "accuracy", "accuracy_shifted", "accuracy_worst")


def github_benchmark(result: AuditReport | GateResult) -> str:
    """Shares of which more is better, in per cent, as github-action-benchmark's `customBiggerIsBetter` reads them.

    Of a gate, what was judged of the candidate.
    """
    entries = list(_judged(result) if isinstance(result, GateResult) else _measured(result))
    return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"


def _measured(report: AuditReport) -> Iterator[dict[str, object]]:
    for name, metric in _metrics(report):
        entry: dict[str, object] = {"name": name, "unit": "%", "value": _percent(metric.value or 0.0)}
        if metric.ci_low is not None and metric.ci_high is not None:
            entry["range"] = f"{_percent(metric.ci_low)} to {_percent(metric.ci_high)}"
        yield entry | {"extra": f"{report.model.source}, {metric.n_images} images"}


def _judged(result: GateResult) -> Iterator[dict[str, object]]:
    values = {
        verdict.name: verdict.candidate
        for verdict in result.verdicts
        if verdict.candidate is not None and verdict.higher_is_better and unit_of(verdict.name) == "share"
    }
    for name, value in values.items():
        yield {"name": name, "unit": "%", "value": _percent(value), "extra": result.candidate_model}


def model_card(report: AuditReport) -> str:
    """The `model-index` block of a model card: what was measured, on which images, under which shifts.

    Every text is quoted as JSON does, which YAML reads alike.
    """
    lines = [
        "---",
        "model-index:",
        f"- name: {_quoted(report.model.source)}",
        "  results:",
        "  - task:",
        "      type: image-classification",
        "    dataset:",
        f"      name: {_quoted(f'{report.data.n_images} images, SHA-256 {report.data.manifest_sha256[:12]}')}",
        f"      type: {_quoted('manifest-' + report.data.manifest_sha256[:12])}",
        f"      args: {_quoted(f'shifts {report.protocol.shifts}, protocol {report.protocol.protocol_hash[:12]}')}",
        "    metrics:",
    ]
    for name, metric in _metrics(report):
        protocol, _, measure = name.rpartition(".")
        lines += [
            f"    - type: {_quoted(measure)}",
            f"      name: {_quoted(label_of(measure) + (f' under {protocol} shifts' if protocol else ''))}",
            f"      value: {metric.value:.6g}",
        ]
    source = {"name": f"shiftaudit {report.tool_version}", "url": "https://github.com/shiftaudit/shiftaudit"}
    lines += ["    source:", *(f"      {key}: {_quoted(value)}" for key, value in source.items()), "---"]
    return "\n".join(lines) + "\n"


def _metrics(report: AuditReport) -> Iterator[tuple[str, Metric]]:
    """Measured shares of which more is better; what is the same under all protocols once, without a protocol's name."""
    seen = set()
    for protocol, result in report.protocols.items():
        for name in _SHOWN:
            metric = result.metrics.get(name)
            full = name if name == "accuracy" else f"{protocol}.{name}"
            if metric is not None and metric.value is not None and full not in seen:
                seen.add(full)
                yield full, metric


def _percent(share: float) -> float:
    return float(f"{100 * share:.5g}")


def _quoted(text: str) -> str:
    return json.dumps(text)
