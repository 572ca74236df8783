"""What a configuration makes is there as a whole, or nothing of it stays open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from live_bench import Bench

from kwsd import assemble
from kwsd.capture.device import DeviceUnavailable
from kwsd.config import Config, load_config
from kwsd.daemon import listening
from kwsd.daemon.listening import listen
from kwsd.errors import KwsdError, ModelError, RuntimeUnavailable
from kwsd.source.channels import ChannelMap
from kwsd.source.live import LiveInput, LiveSettings


def config_of(folder: Path, *lines: str) -> Config:
    file = folder / "kwsd.toml"
    file.write_text("\n".join(lines) + "\n")
    return load_config(file=file)


def closed_input() -> LiveInput:
    def nobody() -> Any:
        raise AssertionError("nothing is read here")

    return LiveInput(nobody, LiveSettings("test", 16_000, 2), ChannelMap((0, 1), None))


@pytest.fixture
def still_open(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the models whose runtime is open."""
    names: set[str] = set()
    open_session = assemble.open_session

    def noted(package: Any, *arguments: Any) -> Any:
        session, choice = open_session(package, *arguments)
        close = session.close

        def closed() -> None:
            names.discard(package.name)
            close()

        session.close = closed
        names.add(package.name)
        return session, choice

    monkeypatch.setattr(assemble, "open_session", noted)
    return names


def test_the_second_model_is_broken(
    tmp_path: Path, still_open: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tmp_path, "wake.models = ['computer', 'jarvis', 'alexa']")
    noted = assemble.open_session

    def breaks(package: Any, *arguments: Any) -> Any:
        if package.name == "jarvis":
            raise ModelError("broken")
        return noted(package, *arguments)

    monkeypatch.setattr(assemble, "open_session", breaks)
    with pytest.raises(ModelError, match="broken"):
        listen(config, closed_input(), [])
    assert not still_open


def test_the_front_end_cannot_be_had(
    tmp_path: Path, still_open: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tmp_path, "wake.models = ['computer', 'jarvis']")
    source = closed_input()
    before = listen(config, source, [])

    def no_core(*arguments: Any) -> Any:
        assert len(still_open) == 2
        raise RuntimeUnavailable("no compiled core")

    still_open.clear()
    monkeypatch.setattr(listening, "build_chain", no_core)
    with pytest.raises(KwsdError, match="no compiled core"):
        listen(config, source, [], before)
    assert not still_open
    before.close()


def test_another_device_cannot_be_opened(tmp_path: Path, still_open: set[str]) -> None:
    bench = Bench()
    blocks = bench.run(0.3)
    before = listen(config_of(tmp_path), bench.input, [])
    bench.refusals = 1
    with pytest.raises(DeviceUnavailable, match="not there"):
        listen(config_of(tmp_path, "wake.models = ['jarvis']"), bench.another(), [], before)
    # The models of the old one are as they were, and its device is opened again.
    assert still_open == {"computer"}
    assert bench.run(0.3)[0].start_sample > blocks[-1].start_sample
    before.close()


def test_a_model_that_is_missing_does_not_interrupt_what_is_heard(tmp_path: Path) -> None:
    bench = Bench()
    bench.run(0.3)
    before = listen(config_of(tmp_path), bench.input, [])
    with pytest.raises(KwsdError):
        listen(config_of(tmp_path, "wake.models = ['nobody']"), bench.another(), [], before)
    assert not bench.devices[0].closed
    assert not any(block.gap for block in bench.run(0.3))
    before.close()


@pytest.mark.parametrize(
    ("then", "kept"),
    [
        ("wake.sensitivity = 'high'", True),
        ("preroll.length_s = 4.0", False),
        ("preroll.length_s = 0.0", False),
    ],
)
def test_the_preroll_goes_on_while_it_is_the_same(tmp_path: Path, then: str, kept: bool) -> None:
    source = closed_input()
    before = listen(config_of(tmp_path), source, [])
    after = listen(config_of(tmp_path, then), source, [], before)
    assert before.preroll is not None
    assert (after.preroll is before.preroll) is kept
    other_source = closed_input()
    other_source.mute(True)
    other = listen(config_of(tmp_path, then), other_source, [], before)
    assert other.preroll is None or other.preroll is not before.preroll
    assert other.chain.front_end is not before.chain.front_end
    for one in (before, after, other):
        one.close()
