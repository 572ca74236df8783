"""Faults of the AIPU test double under a whole replay: no wake lost, each change told once."""

import io
import json
import logging
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import zmq
from aipu_double.packages import compiled_copy
from model_fixture import tone_bursts
from processes import gone

from kwsd.assemble import open_models, runtime_changes, runtime_state
from kwsd.config import load_config
from kwsd.dsp.features import BANDS
from kwsd.errors import RuntimeUnavailable
from kwsd.replay import ReplayOptions, replay
from kwsd.runtime.aipu.session import WARM_UP_STEPS
from kwsd.runtime.litert import LiteRtRuntime

pytest_plugins = ("aipu_double.fixtures",)
pytestmark = pytest.mark.usefixtures("no_leaks")

SECONDS = 8.0
WORDS = 4
STEPS_PER_SECOND = 50
FRAMES = np.zeros((2, BANDS), np.float32)


@pytest.fixture(scope="module")
def bursts(tmp_path_factory):
    """A recording with a word at 1, 3, 5 and 7 s."""
    path = tmp_path_factory.mktemp("audio") / "bursts.wav"
    sf.write(path, tone_bursts(SECONDS), 16000, subtype="PCM_16")
    return path


@pytest.fixture
def package(tone_model, tmp_path, double):
    """The tone package with a graph that the double computes with LiteRT in this process."""
    package = compiled_copy(tmp_path / "tone", tone_model)
    double.compute_with(package, LiteRtRuntime().open(package))
    return package


def replayed(recording, config):
    """Events of a replay, by type, and the text that they came in."""
    stdout = io.StringIO()
    replay(ReplayOptions(str(recording)), config, stdout)
    events = [json.loads(line) for line in stdout.getvalue().splitlines()]
    return SimpleNamespace(
        text=stdout.getvalue(),
        events=events,
        wakes=[event for event in events if event["type"] == "wake"],
        states=[event for event in events if event["type"] == "runtime.state"],
    )


def configuration(package, more=(), **keys):
    """Defaults, some keys of ``[runtime]`` and further flags."""
    flags = [*more]
    flags += [(f"runtime.{name}", str(value), "test") for name, value in keys.items()]
    return load_config(flags=flags, models=[str(package)], environment={"XDG_CONFIG_HOME": "/gone"})


@pytest.fixture(scope="module")
def expected(bursts, tone_model):
    """The replay on the CPU alone."""
    return replayed(bursts, configuration(tone_model, order="litert"))


@pytest.fixture
def configure(package, double):
    """A function of further keys: the configuration of a board whose AIPU is the double."""

    def configure(**keys):
        board = {
            "aipu_device": "/dev/null",
            "aipu_library": double.library,
            "aipu_spot_check_steps": 0,
            # The tests wait for a core at times.
            "aipu_job_limit_low_ms": 200,
        }
        return configuration(package.path, **{**board, **keys})

    return configure


@pytest.fixture
def run(configure, bursts, caplog):
    """A function of keys: replays, gives events and log."""

    def run(**keys):
        caplog.set_level(logging.INFO, logger="kwsd")
        caplog.clear()
        result = replayed(bursts, configure(**keys))
        result.log = [(record.levelname, record.getMessage()) for record in caplog.records]
        return result

    return run


def at_step(double, package, seconds, action):
    """Script the job of a stream position: jobs of the start come first."""
    start = WARM_UP_STEPS + package.vectors.steps
    double.script(f"finish {start + round(seconds * STEPS_PER_SECOND)} {action}")


def heard(result):
    """Wakes without the runtime that heard them."""
    return [{**wake, "runtime": "any"} for wake in result.wakes]


def test_aipu_serves_and_standard_output_has_wakes_only(run, expected, double):
    result = run()
    assert len(result.wakes) == WORDS
    assert result.events == result.wakes
    assert heard(result) == heard(expected)
    assert {wake["runtime"] for wake in result.wakes} == {"aipu"}
    assert [text for level, text in result.log if "tone 0.0.1 runs on " in text] == [
        f"tone 0.0.1 runs on aipu: Z1_0701 with {double.library}, litert behind it"
    ]
    assert double.calls("init") == double.calls("deinit") == 1


@pytest.mark.parametrize(
    ("action", "reason", "seconds"),
    [
        ("never", "time-out", 1.02),
        ("never", "time-out", 2.5),
        ("die", "engine-died", 1.02),
        ("corrupt", "output-mismatch", 1.02),
        ("return 0x37", "suspended", 1.02),
    ],
)
def test_fault_in_and_between_words(
    run, expected, double, package, validator, action, reason, seconds
):
    """The step that failed is made again on the CPU: the stream misses none, scores are equal."""
    at_step(double, package, seconds, action)
    result = run(aipu_spot_check_steps=int(action == "corrupt"))
    assert heard(result) == heard(expected)
    (state, *later) = result.states
    validator.validate(state)
    (model,) = state["models"]
    assert (model["previous"], model["runtime"], model["reason"]) == ("aipu", "litert", reason)
    assert state["changed"] == model["model"] == "tone"
    # Told in the block in which it happened (the step ends in it, or in the one before).
    assert seconds - 0.05 <= state["at_s"] <= seconds + 0.15
    assert [s["models"][0]["reason"] for s in later] in ([], ["recovered"])
    assert len([text for level, text in result.log if f": {reason}: " in text]) == 1
    runtimes = [wake["runtime"] for wake in result.wakes]
    assert runtimes[0] == ("aipu" if seconds > 1.5 else "litert"), result.wakes[0]
    if not later:
        assert runtimes[1:] == ["litert"] * (WORDS - 1)


def test_exceptions_in_a_row(run, expected, double, package):
    start = WARM_UP_STEPS + package.vectors.steps + 55
    double.script(f"finish {start} exception", f"finish {start + 1} exception")
    result = run()
    assert heard(result) == heard(expected)
    assert result.states[0]["models"][0]["reason"] == "exception"


def test_wrong_answers_between_words_are_found_in_a_second(run, expected, double, package):
    """With the usual distance of checks some steps are wrong; the next word is found all the same.

    In the middle of a word it would be another matter: docs/aipu.md says so.
    """
    start = WARM_UP_STEPS + package.vectors.steps + round(1.6 * STEPS_PER_SECOND)
    double.script(*(f"finish {start + step} corrupt" for step in range(60)))
    result = run(aipu_spot_check_steps=50)
    assert result.states[0]["at_s"] < 1.6 + 1.1
    assert [s["models"][0]["reason"] for s in result.states][:1] == ["output-mismatch"]
    assert [wake["detected_s"] for wake in result.wakes] == [
        wake["detected_s"] for wake in expected.wakes
    ]


def test_reference_shares_the_session(configure, tone_model, package, double, tmp_path):
    """Four streams, one job in flight: the fault of one is the change of all, told once."""
    path = tmp_path / "three.wav"
    pcm = tone_bursts(4.0)
    music = 0.004 * np.random.default_rng(5).standard_normal(len(pcm)).astype(np.float32)
    sf.write(path, np.stack([pcm, pcm, music], axis=1), 16000, subtype="PCM_16")
    expected = replayed(path, configuration(tone_model, order="litert"))
    start = WARM_UP_STEPS + package.vectors.steps
    # Jobs of a step: detector branch, voice branch, residual and reference.
    double.script(f"finish {start + 4 * 100} die")
    result = replayed(path, configure())
    assert len(expected.wakes) == 2
    assert heard(result) == heard(expected)
    assert result.states[0]["models"][0]["reason"] == "engine-died"
    assert 1.8 < result.states[0]["at_s"] < 2.2


def test_alone_in_the_order_a_fault_ends_the_run(configure, bursts, double, package):
    at_step(double, package, 2.5, "die")
    stdout = io.StringIO()
    with pytest.raises(RuntimeUnavailable, match="engine-died"):
        replay(ReplayOptions(str(bursts)), configure(order="aipu"), stdout)
    assert [json.loads(line)["runtime"] for line in stdout.getvalue().splitlines()] == ["aipu"]


def test_machine_without_an_aipu_is_quiet_and_says_why(run, expected, tmp_path):
    result = run(aipu_device=tmp_path / "aipu")
    assert result.text == expected.text
    (line,) = [entry for entry in result.log if "tone 0.0.1 runs on " in entry[1]]
    assert line[0] == "INFO"
    assert "no-device" in line[1] and "load the kernel module" in line[1]
    assert not [entry for entry in result.log if entry[0] in ("WARNING", "ERROR")]


def test_driver_that_appears_later(configure, double, tmp_path):
    """A node that comes: looked for again on request, told once, without a restart."""
    node = tmp_path / "aipu"
    config = configure(aipu_device=node)
    (model,) = open_models(config, SimpleNamespace(microphones=1, has_reference=False))
    try:
        (before,) = runtime_state([model])["models"]
        assert (before["runtime"], before["reason"]) == ("litert", "no-device")
        assert model.identity.runtime == "litert"
        node.symlink_to("/dev/null")
        model.rearm()
        states = []
        for _ in range(1000):
            model.stream.process(FRAMES, 0)
            states += runtime_changes([model], 16000)
            if states:
                break
            time.sleep(0.005)
        (state,) = states
        (after,) = state["models"]
        assert (after["runtime"], after["previous"]) == ("aipu", "litert")
        assert (after["reason"], state["at_s"]) == ("recovered", 1.0)
        assert model.identity.runtime == "aipu"
        usage = model.usage()
        assert (usage.restarts, usage.failures) == (1, {})
        assert usage.steps["litert"] > 0
    finally:
        model.close()


def test_bus_gets_the_state_at_start_and_each_change(
    configure, bursts, double, package, validator, tmp_path
):
    endpoint = f"ipc://{tmp_path}/events.sock"
    at_step(double, package, 2.5, "die")
    bus = [("bus.endpoint", endpoint, "test"), ("bus.wait_subscriber_s", "20", "test")]
    config = configure(more=bus)
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.subscribe(b"")
        socket.connect(endpoint)
        replay(ReplayOptions(str(bursts), publish=True), config, io.StringIO())
        messages = []
        while socket.poll(1000):
            topic, data = socket.recv_multipart()
            messages.append((topic.decode(), json.loads(data)))
    for _, message in messages:
        validator.validate(message)
    states = [message for topic, message in messages if topic == "runtime/state/"]
    # The first one comes again to a subscriber of its topic, with its number.
    (start,) = {message["seq"]: message for message in states if "changed" not in message}.values()
    assert (start["seq"], start["models"][0]["previous"]) == (0, None)
    assert (start["models"][0]["runtime"], start["models"][0]["reason"]) == ("aipu", "start")
    change = next(message for message in states if "changed" in message)
    assert (change["seq"], change["models"][0]["reason"]) == (1, "engine-died")
    order = [topic for topic, message in messages if message in (change,) or "wake" in topic]
    assert order == ["wake/tone/", "runtime/state/", *["wake/tone/"] * (WORDS - 1)]


def engine_of(pid, limit_s=20.0):
    """Process id of the engine that a kwsd process started."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        for child in children.read_text().split():
            if b"kwsd.runtime.aipu.engine" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        time.sleep(0.01)
    raise AssertionError("no engine")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_engine_ends_with_the_daemon(kwsd_command, package, double, bursts, number):
    """In order where there is time for it; and it does not outlive a daemon that is killed."""
    settings = {"aipu_device": "/dev/null", "aipu_library": double.library}
    command = [*kwsd_command, "--replay", "-", "--model", str(package.path)]
    for name, value in settings.items():
        command += ["--set", f"runtime.{name}={value}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        # The header promises more than is sent: kwsd waits for it.
        process.stdin.write(bursts.read_bytes()[:200_000])
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["runtime"] == "aipu"
        engine = engine_of(process.pid)
        process.send_signal(number)
        process.stdin.close()
        assert process.wait(30) == (143 if number == signal.SIGTERM else -signal.SIGKILL)
        assert gone(engine)
    assert double.live("contexts") == 0
    assert double.calls("deinit") == 1
