"""What a runtime says when it cannot serve: one reason word and a sentence."""

from __future__ import annotations

from kwsd.errors import RuntimeUnavailable


class RuntimeFailure(RuntimeUnavailable):
    """A runtime cannot start, or a step failed; the same step may be repeated elsewhere.

    Parameters
    ----------
    reason : str
        One word for events and metrics, such as ``no-device`` or ``time-out``.
    detail : str
        What happened and what to do next.
    session_usable : bool
        The session may recover by itself: ask its `recovery` instead of opening another.
    """

    def __init__(self, reason: str, detail: str, *, session_usable: bool = False) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.session_usable = session_usable


WAITING_REASONS = frozenset({"no-device", "no-permission", "no-library"})
"""Something is not there yet; looking again from time to time costs nothing."""

FINAL_REASONS = frozenset(
    {
        "no-graph",
        "bad-graph",
        "other-target",
        "other-machine",
        "old-api",
        "missing-symbol",
        "manifest-mismatch",
        "not-quantised",
        "unsupported-operator",
        "dynamic-shape",
        "too-large",
        "scale-mismatch",
        "state-mismatch",
    }
)
"""A file is wrong: nothing changes until somebody changes it and says so."""

LATE_REASONS = frozenset({"time-out", "device-error"})
"""The job may still be on the core when these are told."""
