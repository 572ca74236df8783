"""Fixtures of the AIPU tests. All of them run against a TEST DOUBLE, never against silicon."""

import gc
from pathlib import Path

import pytest
from aipu_double.build import build
from aipu_double.double import Double
from aipu_double.leaks import children_after, open_descriptors
from aipu_double.packages import affine_package

from kwsd.runtime.aipu.runtime import AipuRuntime, AipuSettings
from kwsd.runtime.aipu.session import AipuSession, Limits

# Any character device that everybody may read and write stands for the node: it is never opened.
NODE = Path("/dev/null")
# The slack is for machines on which the tests wait for a core.
SHORT = Limits(slack_ms=1000, grace_ms=600, first_steps_ms=400, largest_ms=50)


@pytest.fixture(scope="session")
def double_library(tmp_path_factory):
    """The double, built once."""
    return build(tmp_path_factory.mktemp("double") / "libaipudrv.so")


@pytest.fixture
def double(double_library, tmp_path, monkeypatch):
    """A scripted device."""
    folder = tmp_path / "device"
    folder.mkdir()
    monkeypatch.setenv("AIPU_DOUBLE_DIR", str(folder))
    device = Double(folder, double_library)
    yield device
    device.close()


@pytest.fixture
def settings(double):
    """The runtime's settings for the double."""
    return AipuSettings(NODE, double.library, limits=SHORT)


@pytest.fixture
def runtime(settings):
    """The runtime on the double."""
    return AipuRuntime(settings)


@pytest.fixture
def package(tmp_path):
    """The affine package."""
    return affine_package(tmp_path / "affine")


@pytest.fixture
def session(runtime, package):
    """An open session."""
    opened = runtime.open(package)
    assert isinstance(opened, AipuSession)
    yield opened
    opened.close()


@pytest.fixture
def no_leaks():
    """Fails a test that leaves descriptors or child processes behind."""
    gc.collect()
    before = open_descriptors()
    yield
    assert not children_after()
    gc.collect()
    assert open_descriptors() == before
