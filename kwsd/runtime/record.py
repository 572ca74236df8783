"""Runtime record: on what a model runs, and the changes that nobody was told of yet."""

from __future__ import annotations

from kwsd.runtime.change import RuntimeChange


class RuntimeRecord:
    """Takes the changes of one model; for the thread that steps it."""

    def __init__(self) -> None:
        self._now: RuntimeChange | None = None
        self._untold: list[RuntimeChange] = []

    def add(self, change: RuntimeChange) -> None:
        """A choice at start, or a change."""
        if change.previous is not None:
            self._untold.append(change)
        self._now = change

    @property
    def now(self) -> RuntimeChange:
        """The latest one: where the model runs, since when it does not elsewhere, and why."""
        assert self._now is not None, "opening a session tells its choice"
        return self._now

    def take(self) -> list[RuntimeChange]:
        """Changes since the last call, oldest first; the choice at start is none of them."""
        untold, self._untold = self._untold, []
        return untold
