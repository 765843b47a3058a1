"""A report at a glance, as a piece of HTML for notebooks: the verdict of each protocol and its main measures."""

from __future__ import annotations

from shiftaudit.records.report import AuditReport
from shiftaudit.render.findings import metric_names
from shiftaudit.render.html.templating import render_template


def render(report: AuditReport) -> str:
    """The piece as text; whatever it quotes is escaped."""
    return render_template("notebook.html.j2", {"report": report, "names": metric_names(report.protocols.values())})
