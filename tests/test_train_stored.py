"""Files that spare work: read, absent, or damaged in any place."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kwsd.train.stored import read_stored


def content() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.arange(50), b=np.zeros((3, 4), np.float16))
    return buffer.getvalue()


def read(path: Path) -> int:
    with np.load(path, allow_pickle=False) as stored:
        return int(stored["a"].sum()) + int(stored["b"].size)


def test_what_is_whole_is_read_and_what_is_absent_is_not(tmp_path: Path) -> None:
    said: list[str] = []
    assert read_stored(tmp_path / "a.npz", read, said.append) is None
    (tmp_path / "a.npz").write_bytes(content())
    assert read_stored(tmp_path / "a.npz", read, said.append) == 1225 + 12
    assert said == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, len(content()) - 1))
def test_what_was_cut_off_is_said_and_left_aside(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content()[:cut])
    said: list[str] = []
    assert read_stored(path, read, said.append) is None
    assert len(said) == 1 and said[0].startswith(f"{path} is damaged and made anew: ")


def test_a_fault_of_the_program_is_no_damage(tmp_path: Path) -> None:
    def broken(path: Path) -> None:
        raise TypeError("a bug")

    (tmp_path / "a.npz").touch()
    with pytest.raises(TypeError):
        read_stored(tmp_path / "a.npz", broken, lambda line: None)
