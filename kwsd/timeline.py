"""Timeline: a stream of any length in a bounded number of columns, for plots.

When the columns are used up, neighbours are merged and each stands for twice the time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Merge = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]


class Timeline:
    """Columns of `rows` numbers over time.

    Parameters
    ----------
    rows : int
        Numbers of one column.
    step : int
        Samples that one value of `push` stands for.
    merge : function
        Makes one column of two, such as `numpy.maximum`.
    columns : int
        Most columns kept; even.
    """

    def __init__(self, rows: int, step: int, merge: Merge, columns: int = 2000) -> None:
        self._merge = merge
        self._data = np.zeros((columns, rows), np.float32)
        self._used = 0
        self._step = step
        self._per_column = 1
        self._pending: NDArray[np.float32] | None = None
        self._pending_count = 0

    @property
    def column_samples(self) -> int:
        """Samples that one column stands for."""
        return self._step * self._per_column

    @property
    def columns(self) -> NDArray[np.float32]:
        """float32 [columns, rows], complete columns only."""
        return self._data[: self._used]

    def push(self, value: NDArray[np.float32]) -> None:
        """Append one value, float32 [rows]."""
        self._pending = value if self._pending is None else self._merge(self._pending, value)
        self._pending_count += 1
        if self._pending_count < self._per_column:
            return
        self._data[self._used] = self._pending
        self._used += 1
        self._pending, self._pending_count = None, 0
        if self._used == len(self._data):
            half = self._used // 2
            self._data[:half] = self._merge(self._data[0::2], self._data[1::2])
            self._used = half
            self._per_column *= 2
