"""Which backend runs: what happens without the native core, or with another version of it."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kwsd.block import Block
from kwsd.dsp import native
from kwsd.dsp.backend import open_front_end
from kwsd.dsp.frontend import FrontEnd
from kwsd.dsp.frontend_config import FrontEndConfig
from kwsd.errors import EX_UNAVAILABLE, RuntimeUnavailable


@pytest.fixture(autouse=True)
def forget_the_library() -> Iterator[None]:
    native.load_library.cache_clear()
    yield
    native.load_library.cache_clear()


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the library is looked for instead; nothing is there yet."""
    path = tmp_path / native.LIBRARY_NAME
    monkeypatch.setattr(native, "library_path", lambda: path if path.is_file() else None)
    return path


def test_auto_runs_on_numpy_where_the_core_was_not_built(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        stage = open_front_end(FrontEndConfig(), 1, True)
    assert isinstance(stage, FrontEnd)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "numpy" in record.message and "not built" in record.message
    zeros = np.zeros(480, np.float32)
    assert len(stage.process(Block(0, zeros[None], zeros)).detector) == 256


def test_native_says_what_to_do_where_the_core_was_not_built(place: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match="dsp.backend = native: .*auto or numpy") as caught:
        open_front_end(FrontEndConfig(backend="native"), 1, True)
    assert caught.value.exit_code == EX_UNAVAILABLE


def test_numpy_does_not_look_for_the_core(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    place.write_bytes(b"not a library")
    with caplog.at_level(logging.INFO):
        stage = open_front_end(FrontEndConfig(backend="numpy"), 1, True)
    assert isinstance(stage, FrontEnd)
    assert [record.levelno for record in caplog.records] == [logging.INFO]


def test_a_damaged_library_is_not_fatal(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    place.write_bytes(b"not a library")
    assert isinstance(open_front_end(FrontEndConfig(), 1, True), FrontEnd)
    assert "cannot be loaded" in caplog.text


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
@pytest.mark.parametrize("code", ["int kws_dsp_abi(void) { return 9999; }", "int other;"])
def test_another_version_is_not_used(
    place: Path, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    source = place.with_suffix(".c")
    source.write_text(code)
    subprocess.run(["gcc", "-shared", "-fPIC", str(source), "-o", str(place)], check=True)
    assert isinstance(open_front_end(FrontEndConfig(), 1, True), FrontEnd)
    assert "another version" in caplog.text
