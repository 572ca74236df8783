"""Plot: waveforms, spectrogram, scores, thresholds and events of a replay (``--plot``).

Memory does not grow with the recording; matplotlib is imported only here and only when asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.block import SAMPLE_RATE_HZ, FloatArray
from kwsd.dsp.features import FRAME_SAMPLES, HIGH_HZ, HOP_SAMPLES, LOW_HZ, hz_to_mel, mel_power
from kwsd.dsp.frontend_frame import FrontEndFrame
from kwsd.errors import OutputError, RuntimeUnavailable
from kwsd.event import Event
from kwsd.timeline import Timeline

_TICKS_HZ = (100, 300, 1000, 3000, 7000)
_SPAN_DB = 80.0
_SIGNALS = ("detector", "voice", "reference")


def require_matplotlib(option: str = "--plot") -> None:
    """Find out before a long run that a plot cannot be drawn (`RuntimeUnavailable`)."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise RuntimeUnavailable(f"{option} needs matplotlib: pip install 'kwsd[plot]'") from None


class ReplayPlot:
    """A tap that gathers what is drawn.

    Parameters
    ----------
    thresholds : mapping of str to float
        Threshold of each keyword.
    """

    def __init__(self, thresholds: Mapping[str, float]) -> None:
        self._thresholds = dict(thresholds)
        # Two rows a signal: the negated minimum and the maximum, so that one merge serves both.
        self._envelope = Timeline(2 * len(_SIGNALS), HOP_SAMPLES, np.maximum)
        self._spectrum: Timeline | None = None
        self._scores = {name: Timeline(2, HOP_SAMPLES, np.maximum) for name in self._thresholds}
        self._held = np.zeros((len(_SIGNALS), 0), np.float32)

    def frame(self, frame: FrontEndFrame) -> None:
        """Take the signals of one frame."""
        fresh = np.stack([frame.detector, frame.voice, frame.reference])
        self._held = np.concatenate([self._held, fresh], axis=1)
        detector = self._held[0]
        count = max(0, 1 + (self._held.shape[1] - FRAME_SAMPLES) // HOP_SAMPLES)
        for power in mel_power(detector)[:count]:
            self._push_spectrum(power)
        for index in range(count):
            hop = self._held[:, index * HOP_SAMPLES : (index + 1) * HOP_SAMPLES]
            self._envelope.push(np.concatenate([-hop.min(axis=1), hop.max(axis=1)]))
        self._held = self._held[:, count * HOP_SAMPLES :].copy()

    def score(self, keyword: str, end_sample: int, smoothed: float) -> None:
        """Take one score."""
        self._scores[keyword].push(np.array([end_sample / SAMPLE_RATE_HZ, smoothed], np.float32))

    def draw(self, path: Path, title: str, events: Sequence[Event]) -> None:
        """Write a PNG.

        Parameters
        ----------
        path : Path
            File to write.
        title : str
            Name of the recording.
        events : sequence of dict
            Wakes to mark.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(12, 9), layout="constrained")
        axes = figure.subplots(5, 1, sharex=True, height_ratios=[1, 1, 1, 2, 2])
        for row, name in enumerate(_SIGNALS):
            self._draw_wave(axes[row], row, name)
        self._draw_spectrum(axes[3])
        self._draw_scores(axes[4])
        for axis in axes:
            for event in events:
                axis.axvline(event["detected_s"], color="tab:red", linewidth=1)
        for event in events:
            axes[4].axvspan(event["onset_s"], event["end_s"], color="tab:red", alpha=0.15)
        # A file's name is no formula, and may hold bytes that are no text.
        figure.suptitle(title.encode("utf-8", "replace").decode(), parse_math=False)
        axes[4].set_xlabel("time (s)")
        try:
            figure.savefig(path, format="png", dpi=100)
        except OSError as error:
            raise OutputError(f"plot cannot be written to {path}: {error.strerror}") from None

    def _push_spectrum(self, power: FloatArray) -> None:
        if self._spectrum is None:
            self._spectrum = Timeline(len(power), HOP_SAMPLES, np.maximum)
        self._spectrum.push(power)

    def _draw_wave(self, axis: Any, row: int, name: str) -> None:
        columns = self._envelope.columns
        time_s = _times(self._envelope)
        low, high = -columns[:, row], columns[:, len(_SIGNALS) + row]
        axis.fill_between(time_s, low, high, linewidth=0.5, color="tab:blue")
        axis.set_ylabel(name)

    def _draw_spectrum(self, axis: Any) -> None:
        axis.set_ylabel("detector (Hz)")
        if self._spectrum is None or not len(self._spectrum.columns):
            return
        columns = self._spectrum.columns
        end_s = len(columns) * self._spectrum.column_samples / SAMPLE_RATE_HZ
        low, high = float(hz_to_mel(LOW_HZ)), float(hz_to_mel(HIGH_HZ))
        level_db = 10.0 * np.log10(columns.T)
        axis.imshow(
            level_db,
            vmin=float(level_db.max()) - _SPAN_DB,
            origin="lower",
            aspect="auto",
            extent=(0.0, end_s, low, high),
            cmap="magma",
        )
        axis.set_yticks([float(hz_to_mel(hz)) for hz in _TICKS_HZ], [str(hz) for hz in _TICKS_HZ])

    def _draw_scores(self, axis: Any) -> None:
        axis.set_ylim(0.0, 1.05)
        axis.set_ylabel("score")
        for index, (name, timeline) in enumerate(self._scores.items()):
            color = f"C{index}"
            columns = timeline.columns
            axis.plot(columns[:, 0], columns[:, 1], color=color, label=name)
            threshold = self._thresholds[name]
            axis.axhline(threshold, color=color, linestyle="--", linewidth=1)
        if self._scores:
            axis.legend(loc="upper left")


def draw_near_misses(path: Path, misses: Sequence[Mapping[str, Any]]) -> None:
    """Write the score curves of near misses as a PNG, one below the other.

    Parameters
    ----------
    path : Path
        File to write.
    misses : sequence of dict
        As `kwsctl explain --json` prints them; at least one.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.5 * len(misses) + 0.5), layout="constrained")
    for axis, miss in zip(
        figure.subplots(len(misses), 1, squeeze=False)[:, 0], misses, strict=True
    ):
        curve = np.array(miss["curve"], np.float64).reshape(-1, 2)
        axis.plot(curve[:, 0], curve[:, 1], label=str(miss["keyword"]))
        axis.axhline(miss["threshold"], color="C0", linestyle="--", linewidth=1)
        axis.axvline(miss["at_s"], color="tab:red", linewidth=1)
        axis.set_ylim(0.0, 1.05)
        axis.set_ylabel("score")
        axis.set_title(f"{miss['keyword']} at {miss['at_s']:.1f} s: {miss['reason']}")
    axis.set_xlabel("time since the start (s)")
    try:
        figure.savefig(path, format="png", dpi=100)
    except OSError as error:
        raise OutputError(f"plot cannot be written to {path}: {error.strerror}") from None


def _times(timeline: Timeline) -> NDArray[np.float64]:
    count = len(timeline.columns)
    return np.asarray((np.arange(count) + 0.5) * timeline.column_samples / SAMPLE_RATE_HZ)
