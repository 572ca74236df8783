"""How long the loop lets audio gather before it looks: longer while a room is quiet.

Most of what an idle daemon costs is waking up, not computing. In a quiet room nothing is lost by
taking several deliveries at once; a word is louder than the room it is said in, so by its end every
delivery is looked at again and the answer is no later than it would be. The audio is the same, and
so are the events.
"""

from __future__ import annotations

from kwsd.dsp.metrics import FrontEndMetrics

REST_S = 0.15
"""What is waited in a quiet room before the next delivery is waited for."""

LIVELY_SNR_DB = 1.5
"""Level over the noise floor, 0.3 s average, above which a room is not quiet."""

HOLD_S = 1.0
"""How long it stays lively after that: longer than the pauses inside a phrase."""

WAKE_HOLD_S = 10.0
"""The same after a wake: whoever fetches the command must not get it in lumps."""


class Attention:
    """Follows the front end's level meters and the wakes."""

    def __init__(self) -> None:
        self._lively_until_s = float("-inf")

    def woke(self, now_s: float) -> None:
        """A word was heard."""
        self._lively_until_s = max(self._lively_until_s, now_s + WAKE_HOLD_S)

    def rest_s(self, metrics: FrontEndMetrics | None, now_s: float) -> float:
        """Seconds for which audio may gather.

        Parameters
        ----------
        metrics : FrontEndMetrics or None
            Last state of the front end; None before there was audio, when nothing may wait.
        now_s : float
            Monotonic seconds.
        """
        if metrics is None or metrics.echo_active or metrics.snr_db >= LIVELY_SNR_DB:
            self._lively_until_s = max(self._lively_until_s, now_s + HOLD_S)
        return 0.0 if now_s < self._lively_until_s else REST_S
