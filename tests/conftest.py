"""Fixtures of the process-level tests: a small model, a recording it wakes on, the command."""

import json
import logging
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import soundfile as sf
from free_port import free_port
from hypothesis import HealthCheck, settings

import kwsd as kwsd_package
from kwsd.sink.curve import SecuredEndpoint, write_pair

PACKAGE_PARENT = Path(kwsd_package.__file__).parent.parent
"""Where the kwsd under test lives: this checkout or the installed copy."""

RATE_HZ = 16000
TONE_HZ = 1000.0

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that the programs handle."""

INTERPRETER_NOTE = "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
"""LiteRT itself writes this to standard error when it opens a model."""


# On a loaded machine an example takes as long as it takes: that fails no property.
settings.register_profile("kwsd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kwsd")


def pytest_configure(config):
    """Let signals reach what the tests start: under nohup they would be ignored there as well.

    A handler is not inherited by another program, and the tests themselves outlive the signal.
    """
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda got, frame: None)


def pytest_collection_modifyitems(config, items):
    """Slow tests run only where a selection is given: ``pytest -m slow``, ``pytest -m ""``."""
    if any(str(word).startswith("-m") for word in config.invocation_params.args):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow: pytest -m slow"))


@pytest.fixture(autouse=True)
def log_level():
    """Programs that run inside a test set what is logged; the next test hears all again."""
    logger = logging.getLogger("kwsd")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers = handlers


@pytest.fixture(autouse=True)
def signal_handlers():
    """Programs that run inside a test set what signals do; a signal ends the next test's run again.

    A SIGTERM from outside would otherwise be an exception, and so a failure, of whatever test runs.
    """
    before = {number: signal.getsignal(number) for number in HANDLED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def small_files():
    """A context in which no file grows beyond so many bytes: write() fails as on a full disk."""

    @contextmanager
    def small_files(most_bytes):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return small_files


@pytest.fixture(scope="session")
def validator():
    """The contract of events."""
    schema = json.loads(files("kwsd").joinpath("schema/event.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture(scope="session")
def tone_model(tmp_path_factory):
    """Folder of a package that wakes on a tone burst."""
    from model_fixture import write_tone_package

    return write_tone_package(tmp_path_factory.mktemp("models") / "tone")


@pytest.fixture(scope="session")
def words():
    """A function of the sample rate: six seconds of noise with bursts at 1 s and 4 s."""

    def words(rate_hz):
        rng = np.random.default_rng(3)
        audio = 1e-3 * rng.standard_normal(6 * rate_hz)
        time_s = np.arange(len(audio)) / rate_hz
        for start_s in (1.0, 4.0):
            inside = (time_s >= start_s) & (time_s < start_s + 0.3)
            audio += np.where(inside, 0.3 * np.sin(2 * np.pi * TONE_HZ * time_s), 0.0)
        return audio

    return words


@pytest.fixture(scope="session")
def recording(tmp_path_factory, words):
    """A 16-bit WAV of `words`."""
    path = tmp_path_factory.mktemp("audio") / "words.wav"
    sf.write(path, words(RATE_HZ), RATE_HZ, subtype="PCM_16")
    return path


@pytest.fixture(scope="session")
def kwsd_environment(tone_model, tmp_path_factory):
    """Variables of a process that sees the same kwsd, the small model and no configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KWSD_")}
    paths = [str(PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(paths),
        "XDG_CONFIG_HOME": str(tmp_path_factory.mktemp("config")),
        "XDG_RUNTIME_DIR": str(tmp_path_factory.mktemp("run")),
        "KWSD_WAKE_MODELS": str(tone_model),
    }


@pytest.fixture
def kwsd_command(kwsd_environment, monkeypatch):
    """The command line of ``kwsd``; children inherit its environment."""
    for name, value in kwsd_environment.items():
        monkeypatch.setenv(name, value)
    return [sys.executable, "-m", "kwsd"]


@pytest.fixture
def kwsd(kwsd_environment):
    """Runs ``kwsd`` to its end; text in and out unless `input` is bytes."""

    def run(*arguments, env=None, input=None, **kwargs):
        options = {"text": not isinstance(input, bytes)}
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 60, **kwargs}
        if input is None:
            options.setdefault("stdin", subprocess.DEVNULL)
        result = subprocess.run(
            [sys.executable, "-m", "kwsd", *map(str, arguments)],
            env={**kwsd_environment, **(env or {})},
            input=input,
            **options,
        )
        if isinstance(input, bytes):
            result.stdout, result.stderr = result.stdout.decode(), result.stderr.decode()
        result.stderr = result.stderr and result.stderr.replace(INTERPRETER_NOTE, "")
        return result

    return run


@pytest.fixture
def secured(tmp_path):
    """An encrypted endpoint, its server's pair and one client, whose key it knows."""
    write_pair(tmp_path / "server", "bus")
    write_pair(tmp_path / "client", "kitchen")
    (tmp_path / "clients").mkdir()
    (tmp_path / "client/kitchen.key").rename(tmp_path / "clients/kitchen.key")
    return SecuredEndpoint(
        f"tcp://127.0.0.1:{free_port()}", tmp_path / "server/bus.key_secret", tmp_path / "clients"
    )
