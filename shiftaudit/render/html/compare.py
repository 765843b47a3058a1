"""The HTML page's part with two reports: before and after, for each measure and for each level of the network."""

from __future__ import annotations

from shiftaudit.metrics.vocabulary import label_of, unit_of
from shiftaudit.records.report import AuditReport, Level, Metric
from shiftaudit.render import findings, numbers
from shiftaudit.render.html.markup import Html, literal, prose, tag


def before_after(before: AuditReport, after: AuditReport) -> Html:
    """Two reports side by side. Whether a difference is more than chance is for `shiftaudit compare` to say."""
    note = "Differences are those of the values; `shiftaudit compare` tests them picture by picture."
    warning = None
    mismatch = _mismatch(before, after)
    if mismatch:
        text = f"These reports were not made alike ({mismatch}), so their numbers cannot be compared one to one."
        warning = tag("div", tag("p", text), class_="warning", role="alert")
    title = tag("h2", "Before and after")
    names = tag(
        "p",
        "Before: ",
        literal(before.model.source),
        ". After: ",
        literal(after.model.source),
        ". ",
        prose(note),
    )
    return tag("section", title, names, warning, _metrics(before, after), _levels(before, after))


def _mismatch(before: AuditReport, after: AuditReport) -> str:
    reasons = []
    if before.protocol.protocol_hash != after.protocol.protocol_hash:
        reasons.append("different shifts or settings")
    if before.data.manifest_sha256 != after.data.manifest_sha256:
        reasons.append("different images")
    return " and ".join(reasons)


def _table(heading: list[str], rows: list[Html], label: str) -> Html:
    cells = [tag("th", text, scope="col", class_="n" if index else None) for index, text in enumerate(heading)]
    table = tag("table", tag("thead", tag("tr", cells)), tag("tbody", rows))
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=label)


def _metrics(before: AuditReport, after: AuditReport) -> Html:
    rows = []
    for protocol, result in before.protocols.items():
        later = after.protocols.get(protocol)
        for name in findings.metric_names([result]):
            now = later.metrics.get(name) if later else None
            rows.append(_row(f"{label_of(name)} ({protocol})", name, result.metrics[name], now))
    return _table(["measure", "before", "after", "change"], rows, "measures before and after")


def _row(label: str, name: str, before: Metric | None, after: Metric | None) -> Html:
    texts = [numbers.value_text(name, metric.value) if metric else "–" for metric in (before, after)]
    if before is None or after is None or before.value is None or after.value is None:
        change, mood = "–", None
    else:
        difference = after.value - before.value
        change = numbers.change_text(name, difference) + (" pp" if unit_of(name) == "share" else "")
        better = (difference > 0) == before.higher_is_better
        mood = None if difference == 0 else "better" if better else "poorer"
    cells = [tag("td", text, class_="n") for text in texts]
    return tag("tr", tag("th", label, scope="row"), cells, tag("td", tag("span", change, class_=mood), class_="n"))


def _levels(before: AuditReport, after: AuditReport) -> Html | None:
    """Mean output error at each cumulative stride: stages have other names after a patch, strides stay."""
    protocol = findings.stage_protocol(before)
    if protocol is None or not before.levels:
        return None
    later = {level.stride: level for level in after.levels}
    rows = [
        _row(
            f"error at stride {numbers.pair_text(level.stride)} ({protocol})",
            "",
            _error(level, protocol),
            _error(later.get(level.stride), protocol),
        )
        for level in before.levels
    ]
    return _table(["equivariance error", "before", "after", "change"], rows, "errors before and after")


def _error(level: Level | None, protocol: str) -> Metric | None:
    return level.errors.get(protocol) if level is not None else None
