"""What a report can do in a notebook. Numbers do not know how they are shown: each method asks the module above the rooms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from shiftaudit.records.report import AuditReport


class Shown:
    """The methods of `AuditReport` that show, save and convert it."""

    def __repr__(self: AuditReport) -> str:  # type: ignore[misc]  # the one class that has them
        values = {name: result.metrics.get("consistency") for name, result in self.protocols.items()}
        shares = [
            f"{name} {100 * m.value:.1f} %" for name, m in values.items() if m is not None and m.value is not None
        ]
        return f"<AuditReport: {self.model.source}, {self.data.n_images} images, consistency {', '.join(shares) or 'unknown'}>"

    def _repr_html_(self: AuditReport) -> str:  # type: ignore[misc]
        from shiftaudit.render.html.notebook import render

        return render(self)

    def save(self: AuditReport, path: str | Path, *, images: str | Path | Sequence[str | Path] = ()) -> None:  # type: ignore[misc]
        """Write it into a file; what is written follows from how the name ends. See `shiftaudit.save_report`."""
        from shiftaudit.reports import save_report

        save_report(self, path, images=images)

    def to_pandas(self: AuditReport) -> DataFrame:  # type: ignore[misc]
        """A data frame with a row for each view of each image: its shift, the answer, its probability, whether it agrees.

        Raises:
            InputError: pandas is not installed.
        """
        from shiftaudit.reports import data_frame

        return data_frame(self)

    def plot(self: AuditReport) -> Figure:  # type: ignore[misc]
        """A Matplotlib figure, as wide as a column of a paper: changed answers over the shift, and the stages' errors.

        Raises:
            InputError: Matplotlib is not installed.
        """
        from shiftaudit.reports import figure

        return figure(self)
