"""Numbers as text: shares, small numbers, shifts, metrics in the unit that the table of metrics gives them."""

from __future__ import annotations

from shiftaudit.metrics.intervals import SMALLEST_APPROXIMATE
from shiftaudit.metrics.vocabulary import unit_of
from shiftaudit.records.advise import Change
from shiftaudit.records.report import Metric, Shift
from shiftaudit.records.words import APPROXIMATE, IntervalMethod


def percent(share: float | None, digits: int = 1) -> str:
    """A share as per cent; a value that only rounding would make perfect (or zero) is not shown as such.

    >>> percent(0.9123), percent(None), percent(0.99997), percent(1.0)
    ('91.2 %', '–', '> 99.9 %', '100 %')
    """
    if share is None:
        return "–"
    if share in (0.0, 1.0):
        return f"{share * 100:.0f} %"
    edge = 10.0**-digits
    if share * 100 > 100 - edge / 2:
        return f"> {100 - edge:.{digits}f} %"
    if share * 100 < edge / 2:
        return f"< {edge:.{digits}f} %"
    return f"{share * 100:.{digits}f} %"


def number(value: float | None, digits: int | None = None) -> str:
    """A small number with `digits` places behind the point, or else with three places that matter.

    >>> number(0.03456), number(0.3456), number(0.3456, 4), number(0.0), number(2e-7), number(None)
    ('0.0346', '0.346', '0.3456', '0', '2e-07', '–')
    """
    if value is None:
        return "–"
    if value == 0:
        return "0"
    if abs(value) < 5e-5:
        return f"{value:.0e}"
    return f"{value:.{digits or (3 if abs(value) >= 0.1 else 4)}f}"


def value_text(name: str, value: float | None) -> str:
    """The value of the metric of this name, in its unit.

    >>> value_text("stable", 0.5), value_text("crop.adjacent_change", 0.0694), value_text("js_divergence", 0.0694)
    ('50.0 %', '6.9 %', '0.0694')
    """
    return percent(value) if unit_of(name) == "share" else number(value)


def interval_text(name: str, metric: Metric) -> str:
    """A metric's interval as `[low, high]`; of too few images for one their number, and empty where there is neither."""
    if metric.ci_low is None or metric.ci_high is None:
        few = metric.value is None or metric.n_images < SMALLEST_APPROXIMATE
        text = f"of {metric.n_images:,}" if unit_of(name) == "share" else counted(metric.n_images, "image")
        return text if few and metric.n_images else ""
    if unit_of(name) == "share":
        return f"[{metric.ci_low * 100:.1f}, {metric.ci_high * 100:.1f}]"
    mark = about(metric.method)
    # The mark takes the place of the blank, so that a table of two protocols still fits into 80 columns.
    return f"{mark}[{number(metric.ci_low)},{'' if mark else ' '}{number(metric.ci_high)}]"


def metric_text(name: str, metric: Metric | None) -> str:
    """A metric's value and its interval; a dash where it was not measured."""
    return "–" if metric is None else f"{value_text(name, metric.value)} {interval_text(name, metric)}".rstrip()


def about(method: IntervalMethod) -> str:
    """The mark of an interval that is approximate, before its bracket.

    >>> about("approximate-t"), about("bounded-mean")
    ('≈', '')
    """
    return "≈" if method == APPROXIMATE else ""


def points(metric: Metric) -> str:
    """A share, or a difference of shares, in points."""
    return "–" if metric.value is None else f"{metric.value * 100:.1f}".replace("-", "−")


def points_interval(metric: Metric | Change) -> str:
    """Its interval in points."""
    if metric.ci_low is None or metric.ci_high is None:
        return ""
    return f"[{metric.ci_low * 100:.1f}, {metric.ci_high * 100:.1f}]".replace("-", "−")


def change_text(name: str, change: float) -> str:
    """A difference of two values of a metric with its sign, of shares in percentage points.

    >>> change_text("crop.consistency", -0.0125), change_text("js_divergence", 0.0125)
    ('−1.2', '+0.0125')
    """
    text = f"{change * 100:+.1f}" if unit_of(name) == "share" else f"{change:+.4f}"
    return text.replace("-", "−")


def signed(pixels: int) -> str:
    """A shift along one axis with its sign, zero without: `+3`, `−3`, `0`."""
    return f"+{pixels}" if pixels > 0 else f"−{-pixels}" if pixels < 0 else "0"


def odds(share: float) -> str:
    """How often something with this share happens, in words.

    >>> odds(0.0), odds(1 / 11.2), odds(0.62), odds(1.0)
    ('never', 'in 1 of 11', 'in 6 of 10', 'always')
    """
    if share <= 0:
        return "never"
    if share >= 1:
        return "always"
    return f"in 1 of {round(1 / share):,}" if share < 0.4 else f"in {min(9, round(share * 10))} of 10"


def pair_text(pair: tuple[float, float]) -> str:
    """A pair (y, x) as one number where both are equal.

    >>> pair_text((4.0, 4.0)), pair_text((2.0, 1.0)), pair_text((14.93, 14.93)), pair_text((1024, 1024))
    ('4', '2×1', '14.9', '1024')
    """
    y, x = (f"{value:.0f}" if value >= 100 else f"{value:.3g}" for value in pair)
    return y if y == x else f"{y}×{x}"


def strides_text(stride: tuple[float, float], layer_stride: tuple[float, float]) -> str:
    """The cumulative stride and that of one operation: `8 (×2)`."""
    return f"{pair_text(stride)} (×{pair_text(layer_stride)})"


def sizes_text(before: tuple[int, int], after: tuple[int, int]) -> str:
    """The sizes of a map before and after an operation: `56→28`."""
    return f"{pair_text(before)}→{pair_text(after)}"


def shift_text(shift: Shift) -> str:
    """A shift (dy, dx) with its signs.

    >>> shift_text((3, 0)), shift_text((-1, 2))
    ('(+3, 0)', '(−1, +2)')
    """
    return f"({signed(shift[0])}, {signed(shift[1])})"


def counted(n: int, thing: str) -> str:
    """How many of something, in words.

    >>> counted(1, "image"), counted(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"1 {thing}" if n == 1 else f"{n:,} {thing}s"
