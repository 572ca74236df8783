"""Restart: a session being opened in a thread, so that steps can go on elsewhere meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from kwsd.runtime.failure import RuntimeFailure
from kwsd.runtime.fallible import FallibleSession

log = logging.getLogger(__name__)


class Restart:
    """One attempt; at its end either `session` or `failure` is set.

    Parameters
    ----------
    opener : callable
        Opens and proves a session, or raises RuntimeFailure.
    """

    def __init__(self, opener: Callable[[], FallibleSession]) -> None:
        self.session: FallibleSession | None = None
        self.failure: RuntimeFailure | None = None
        self._opener = opener
        self._lock = threading.Lock()
        self._discarded = False
        self._thread = threading.Thread(target=self._run, name="runtime-restart", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """True when either `session` or `failure` is set for good."""
        return not self._thread.is_alive()

    def wait(self, limit_s: float | None) -> None:
        """Until it is done, or for so long; None for as long as it takes."""
        self._thread.join(limit_s)

    def discard(self, wait_s: float) -> None:
        """Close what comes out of it, now or when it comes."""
        with self._lock:
            self._discarded = True
        self._thread.join(wait_s)
        if self.session is not None:
            self.session.close()

    def _run(self) -> None:
        try:
            session = self._opener()
        except RuntimeFailure as failure:
            self.failure = failure
            return
        except Exception as error:
            # The last stop of this thread: an error must become a reason, not a silent end.
            log.exception("restart")
            self.failure = RuntimeFailure("restart-error", repr(error))
            return
        with self._lock:
            if not self._discarded:
                self.session = session
                return
        session.close()
