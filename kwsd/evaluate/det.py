"""DET plot: misses against false accepts per hour, with what the hours cannot show left blank."""

from __future__ import annotations

from pathlib import Path

from kwsd.evaluate.report import Report, positives_text

FORMATS = (".png", ".svg", ".pdf")
"""Endings of a file that can be drawn."""


def draw_det(report: Report, path: Path) -> None:
    """Write the plot.

    Parameters
    ----------
    report : Report
        Curve and sensitivities.
    path : Path
        File; its ending chooses the format, one of `FORMATS`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curve = report.result.curve
    points = curve.points()
    finest = 1.0 / curve.hours
    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    # No false accept has no place on a log axis: it is drawn at half of the finest rate.
    rates = [point.rate or finest / 2 for point in points]
    misses = [100 * point.miss_rate for point in points]
    low, high = ([100 * p.miss_interval[end] for p in points] for end in (0, 1))
    # Rates fall from point to point; a rate between two is kept to by the one with fewer.
    axes.fill_between(rates, low, high, step="pre", alpha=0.2, label="95 % of the misses")
    axes.step(rates, misses, where="pre", label=report.condition)
    for name, point in report.sensitivities():
        at = (point.rate or finest / 2, 100 * point.miss_rate)
        axes.plot(*at, "o", label=f"{name} ({point.threshold:.3f})")
    axes.axvspan(finest / 4, finest, color="0.9", label=f"below one in {curve.hours:.1f} h")
    axes.set_xscale("log")
    axes.set_xlim(left=finest / 4)
    axes.set_ylim(0, max(10.0, min(100.0, 1.1 * max(misses))))
    axes.set_xlabel("false accepts per hour")
    axes.set_ylabel("missed (%)")
    package = report.package
    axes.set_title(f"{package.name} {package.version}: {positives_text(report.result)}")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path)
