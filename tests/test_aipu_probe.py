"""Everything that is looked at before the device is touched: one reason word each."""

import os
import stat
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from aipu_double.build import build
from aipu_double.container import R329
from aipu_double.packages import FEATURES, SCORE, STATE_OUT, compile_for_double
from other_user import closed_folder, other_user

from kwsd.runtime.aipu.probe import check_device, check_library, find_library
from kwsd.runtime.aipu.runtime import AipuRuntime
from kwsd.runtime.failure import FINAL_REASONS, WAITING_REASONS, RuntimeFailure

pytest_plugins = ("aipu_double.fixtures",)


def reason(function, *arguments):
    with pytest.raises(RuntimeFailure) as caught:
        function(*arguments)
    message = str(caught.value)
    assert message.startswith(caught.value.reason + ": ")
    assert len(message.splitlines()) == 1
    return caught.value.reason


def test_no_device(tmp_path):
    assert reason(check_device, tmp_path / "aipu") == "no-device"
    (tmp_path / "aipu").write_text("a plain file")
    assert reason(check_device, tmp_path / "aipu") == "no-device"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a node that others cannot open")
def test_no_permission(tmp_path):
    node = tmp_path / "aipu"
    try:
        os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("device nodes are not allowed here")
    check_device(node)
    os.seteuid(65534)
    try:
        assert reason(check_device, node) == "no-permission"
    finally:
        os.seteuid(0)


def test_library_is_the_configured_the_plain_or_the_newest(tmp_path):
    assert reason(find_library, tmp_path / "gone.so") == "no-library"
    assert reason(find_library, None, (tmp_path,)) == "no-library"
    for version in ("5.9.0", "5.11.0", "5.7.1"):
        (tmp_path / f"libaipudrv.so.{version}").touch()
    assert find_library(None, (tmp_path,)).name == "libaipudrv.so.5.11.0"
    (tmp_path / "libaipudrv.so").touch()
    assert find_library(None, (tmp_path,)).name == "libaipudrv.so"
    assert find_library(tmp_path / "libaipudrv.so.5.7.1").name == "libaipudrv.so.5.7.1"


def test_a_library_that_this_user_may_not_see():
    with closed_folder() as (folder, _), other_user():
        assert reason(find_library, folder / "libaipudrv.so") == "no-permission"


def test_library_of_other_kinds(double_library, tmp_path):
    check_library(double_library)
    data = bytearray(double_library.read_bytes())
    library = tmp_path / "libaipudrv.so"
    for content, expected in (
        (b"no library at all", "no-library"),
        (data[:200], "no-library"),
        (data[:18] + struct.pack("<H", 243) + data[20:], "other-machine"),
        (data[:4] + b"\x01" + data[5:], "other-machine"),
    ):
        library.write_bytes(content)
        assert reason(check_library, library) == expected


def test_library_with_other_functions(tmp_path):
    assert reason(check_library, build(tmp_path / "old.so", "OLD_API")) == "old-api"
    assert reason(check_library, build(tmp_path / "part.so", "NO_CLEAN")) == "missing-symbol"


def test_probe_touches_nothing(runtime, settings, double, tmp_path):
    assert runtime.probe().available
    assert double.calls("init") == 0
    assert str(double.library) not in Path("/proc/self/maps").read_text()
    probe = AipuRuntime(replace(settings, device=tmp_path / "aipu")).probe()
    assert not probe.available
    assert probe.reason.startswith("no-device: ")


def cut(package):
    file = package.path / "model.aipu.bin"
    file.write_bytes(file.read_bytes()[:-1])


def flip(package):
    file = package.path / "model.aipu.bin"
    data = bytearray(file.read_bytes())
    data[110] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda p: (p.path / "model.aipu.bin").unlink(), "no-graph"),
        (cut, "bad-graph"),
        (flip, "manifest-mismatch"),
        (lambda p: compile_for_double(p, device=R329 + 1), "other-target"),
        (lambda p: (p.path / "model.aipu.toml").unlink(), "manifest-mismatch"),
        (lambda p: (p.path / "model.aipu.toml").write_text("format = ["), "manifest-mismatch"),
        (lambda p: (p.path / "model.aipu.toml").write_text("format = 2"), "manifest-mismatch"),
        (lambda p: compile_for_double(p, inputs=(FEATURES,)), "manifest-mismatch"),
        (
            lambda p: compile_for_double(
                p, outputs=(SCORE, replace(STATE_OUT, shape=(1, 5, 1, 8)))
            ),
            "manifest-mismatch",
        ),
    ],
)
def test_package_that_does_not_fit_is_refused_without_the_device(
    runtime, double, package, damage, expected
):
    damage(package)
    assert reason(runtime.open, package) == expected
    assert expected in FINAL_REASONS
    assert double.calls("init") == 0


def test_reasons_wait_or_are_final():
    assert not WAITING_REASONS & FINAL_REASONS
