"""A reload that changes [audio] takes the new device as a whole, or the old one goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from service_bench import ServiceBench

from kwsd.capture.device import DeviceUnavailable
from kwsd.config import Config
from kwsd.errors import RuntimeUnavailable
from kwsd.event import Event


def beats(bench: ServiceBench) -> list[Event]:
    return [event for event in bench.bus.events if event["type"] == "health.beat"]


@pytest.mark.parametrize(
    "refusal",
    [DeviceUnavailable("bad is not there", "missing"), RuntimeUnavailable("no capture library")],
)
def test_a_device_that_cannot_be_opened_leaves_the_old_one_at_work(
    tmp_path: Path, refusal: RuntimeUnavailable, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = ServiceBench(tmp_path, "audio.device = 'good'")
    bench.refused["bad"] = refusal

    def reload() -> None:
        bench.write_config("audio.device = 'bad'", "wake.sensitivity = 'high'")
        assert bench.fails("reload") == str(refusal)
        status = bench.ask("status")
        assert status["audio"]["device"] == "good"
        thresholds.append(status["keywords"][0]["threshold"])

    thresholds: list[float] = []
    bench.at(2.0, lambda: thresholds.append(bench.ask("status")["keywords"][0]["threshold"]))
    bench.at(2.0, reload)
    bench.run(5.0, monkeypatch)
    assert thresholds[0] == thresholds[1]
    last = beats(bench)[-1]
    assert last["audio"] == "running" and last["gaps"] == 1
    assert len(bench.devices) == 2


def test_the_stream_goes_on_and_a_client_in_the_middle_is_told_of_the_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = ServiceBench(tmp_path, "audio.device = 'one'")
    places: list[dict[str, int]] = []

    def fetch(from_sample: int) -> None:
        places.append(bench.ask("preroll", from_sample=from_sample).result)

    def reload() -> None:
        fetch(30_000)
        bench.write_config("audio.device = 'two'")
        bench.ask("reload")
        # Nothing came of the new device yet: nothing is lost so far, and nothing begins anew.
        fetch(places[-1]["next_sample"])

    bench.at(3.0, reload)
    bench.at(6.0, lambda: fetch(places[-1]["next_sample"]))
    bench.run(6.5, monkeypatch)
    before, between, after = places
    assert before["next_sample"] > 40_000
    assert between["first_sample"] == between["next_sample"] == before["next_sample"]
    # The converter of the new device settles meanwhile.
    assert after["lost_samples"] >= 0.15 * 16_000
    assert after["first_sample"] == before["next_sample"] + after["lost_samples"]
    for name in ("openings", "overruns", "gaps"):
        counted = [beat[name] for beat in beats(bench)]
        assert counted == sorted(counted) and counted[-1] > counted[0]


def test_who_is_muted_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = ServiceBench(tmp_path, "audio.device = 'good'")
    bench.refused["bad"] = DeviceUnavailable("bad is not there", "missing")

    def reload() -> None:
        bench.write_config("audio.device = 'bad'")
        bench.ask("reload")
        assert bench.ask("status")["audio"]["device"] == "bad"

    bench.at(2.0, lambda: bench.ask("mute"))
    bench.at(2.0, reload)
    bench.at(3.0, lambda: bench.ask("unmute"))
    bench.run(4.0, monkeypatch)
    assert len(bench.devices) == 1
    assert beats(bench)[-1]["audio"] == "lost"


def test_a_configuration_that_may_not_be_read_leaves_the_old_one_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = ServiceBench(tmp_path)

    def forbidden() -> Config:
        raise PermissionError(13, "Permission denied", "/etc/kwsd/conf.d")

    def reload() -> None:
        bench.load = forbidden
        bench.service.requests.reload = True
        assert bench.fails("reload") == "/etc/kwsd/conf.d cannot be read: Permission denied"

    bench.at(1.0, reload)
    bench.run(3.0, monkeypatch)
    assert "reload failed, the old configuration goes on: /etc/kwsd/conf.d" in caplog.text
    told = [line for _, line in bench.notifier.told if line in ("RELOADING=1", "READY=1")]
    assert told == ["READY=1", *["RELOADING=1", "READY=1"] * 2]
    assert len(bench.devices) == 1 and beats(bench)[-1]["audio"] == "running"


def test_keys_of_clients_are_read_again_before_anything_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = ServiceBench(tmp_path)

    def reload() -> None:
        bench.ask("reload")
        assert bench.bus.client_reloads == 1
        listening = bench.service.now
        bench.bus.clients_refused = "kitchen.key holds no key"
        assert bench.fails("reload") == "kitchen.key holds no key"
        assert bench.service.now is listening

    bench.at(1.0, reload)
    bench.run(2.0, monkeypatch)
    assert bench.bus.client_reloads == 2


def test_another_input_is_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = ServiceBench(tmp_path, "audio.device = 'one'")

    def reload() -> None:
        bench.write_config("audio.device = 'two'")
        bench.ask("reload")

    bench.at(2.0, reload)
    bench.run(5.0, monkeypatch)
    told = [event for event in bench.bus.events if event["type"] == "audio.state"]
    assert [told[0]["source"], told[-1]["source"]] == ["one", "two"]
    assert told[-1]["state"] == "running"


def test_who_is_muted_stays_so_with_a_device_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = ServiceBench(tmp_path, "audio.device = 'one'")

    def reload() -> None:
        bench.write_config("audio.device = 'two'")
        bench.ask("reload")

    bench.at(0.5, lambda: bench.ask("mute"))
    bench.at(1.0, reload)
    bench.run(3.0, monkeypatch)
    assert len(bench.devices) == 1 and beats(bench)[-1]["audio"] == "muted"
    # The state is what it was, the input is not.
    told = [event for event in bench.bus.events if event["type"] == "audio.state"]
    assert (told[-1]["source"], told[-1]["state"]) == ("two", "muted")
