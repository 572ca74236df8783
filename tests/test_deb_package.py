"""The Debian package: built, looked into, installed on a booted systemd, purged.

``KWSD_DEB=FILE`` judges a package that is already there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import systemd_box

ROOT = Path(__file__).parent.parent
DEBIAN_PYTHON = "/usr/bin/python3"
PACKAGE_IN_BOX = "/run/package"
PACKAGE_FOLDERS = ("/etc", "/opt", "/usr", "/var/lib")
"""Where a package may leave something."""

POSTINST = ROOT / "packaging/debian/postinst"


@pytest.fixture(scope="module")
def package() -> Iterator[Path]:
    if "KWSD_DEB" in os.environ:
        yield Path(os.environ["KWSD_DEB"]).resolve()
        return
    for program, where in (("dpkg-deb", "dpkg"), (DEBIAN_PYTHON, "python3"), ("git", "git")):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}: install {where}")
    with tempfile.TemporaryDirectory(prefix="kwsdeb") as folder:
        built = subprocess.run(
            [str(ROOT / "tests/package/build_deb.sh"), folder],
            capture_output=True,
            text=True,
            check=False,
            timeout=1200,
        )
        if built.returncode == 69:
            pytest.skip(built.stderr.strip())
        assert built.returncode == 0, built.stderr[-3000:]
        Path(folder).chmod(0o755)
        yield Path(built.stdout.strip().splitlines()[-1])


def deb(package: Path, *words: str) -> str:
    return subprocess.run(
        ["dpkg-deb", *words, str(package)], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.slow
def test_name_and_fields_agree(package: Path) -> None:
    version, architecture = deb(
        package, "--show", "--showformat=${Version} ${Architecture}"
    ).split()
    assert package.name == f"kwsd_{version}_{architecture}.deb"
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", version)
    needs = deb(package, "--show", "--showformat=${Depends}")
    assert re.search(r"python3 \(>= 3\.\d+\), python3 \(<< 3\.\d+\)", needs)


@pytest.mark.slow
def test_everything_is_in_its_place_and_nothing_else(package: Path) -> None:
    lines = [line.split(None, 5) for line in deb(package, "--contents").splitlines()]
    modes = {line[5].removeprefix("."): (line[0], line[1]) for line in lines}
    for path in (
        "/usr/bin/kwsd",
        "/usr/bin/kwsctl",
        "/usr/lib/systemd/system/kwsd.service",
        "/usr/lib/sysusers.d/kwsd.conf",
        "/usr/lib/tmpfiles.d/kwsd.conf",
        "/usr/lib/udev/rules.d/60-kwsd-aipu.rules",
        "/usr/lib/kwsd/kwsd/dsp/libkwsdsp.so",
        "/usr/lib/kwsd/kwsd/capture/libkwscapture.so",
        "/usr/share/doc/kwsd/copyright",
        "/etc/kwsd/kwsd.toml",
    ):
        assert path in modes, path
    assert modes["/etc/kwsd/kwsd.toml"][0] == "-rw-r-----"
    assert {owner for _, owner in modes.values()} == {"root/root"}
    tops = {"/".join(path.split("/")[:3]) for path in modes if path.count("/") > 2}
    assert tops <= {"/usr/bin", "/usr/lib", "/usr/share", "/etc/kwsd"}
    assert not [
        path for path in modes if "/kwsd/tests/" in path or path.endswith("direct_url.json")
    ]
    assert deb(package, "--info").count("conffiles") == 1


@pytest.mark.slow
def test_no_build_folder_is_named_inside(package: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(tmp_path / "x")], check=True)
    for program in (tmp_path / "x/usr/bin").iterdir():
        assert program.read_text().startswith("#!/usr/bin/python3 -I\n")
    own = tmp_path / "x/usr/lib/kwsd/kwsd"
    named = [path for path in own.rglob("*.pyc") if str(ROOT).encode() in path.read_bytes()]
    assert not named


@pytest.mark.slow
def test_lintian_finds_no_error(package: Path) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("no lintian: install lintian")
    result = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error", "--tag-display-limit", "0", str(package)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-3000:]


@pytest.mark.parametrize("configured", [True, False])
def test_configuring_does_not_need_the_configuration_file(tmp_path: Path, configured: bool) -> None:
    """An upgrade where the administrator has deleted kwsd.toml, which dpkg leaves away."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("systemd-sysusers", "systemctl", "udevadm"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    etc = tmp_path / "etc"
    for name in ("conf.d", "clients"):
        (etc / name).mkdir(parents=True)
    if configured:
        (etc / "kwsd.toml").touch(mode=0o640)
    script = POSTINST.read_text().replace("/etc/kwsd", str(etc))
    script = script.replace("root:kwsd", f"{os.getuid()}:{os.getgid()}")
    done = subprocess.run(
        ["sh", "-c", script, "postinst", "configure", "0.0.1"],
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert (etc / "kwsd.toml").exists() == configured


def listing(box: systemd_box.SystemdBox) -> set[str]:
    found = box.check("find", *PACKAGE_FOLDERS, "-not", "-type", "d", "-not", "-path", "*/dpkg/*")
    return set(found.splitlines())


@pytest.mark.slow
def test_installed_it_hears_and_purged_it_leaves_nothing(package: Path) -> None:
    if systemd_box.missing():
        pytest.skip(systemd_box.missing())
    with tempfile.TemporaryDirectory(prefix="kwsbox") as folder:
        work = Path(folder) / "box"
        work.mkdir()
        box = systemd_box.SystemdBox(
            work,
            f"--bind-ro={package.parent}:{PACKAGE_IN_BOX}",
            f"--bind-ro={ROOT / 'samples'}:/run/samples",
        )
        try:
            walk_through(box, f"{PACKAGE_IN_BOX}/{package.name}")
        finally:
            box.stop()


def walk_through(box: systemd_box.SystemdBox, file: str) -> None:
    before = listing(box)
    box.check("dpkg", "--install", file, timeout_s=300)
    assert box.check("kwsd", "--version").startswith("kwsd ")
    assert "kwsd" in box.check("id", "kwsd")
    assert box.check("stat", "--format=%U:%G %a", "/etc/kwsd/kwsd.toml") == "root:kwsd 640"
    assert box.check("stat", "--format=%U:%G %a", "/etc/kwsd/clients") == "root:kwsd 750"
    assert box.run("systemctl", "is-enabled", "kwsd").stdout.strip() == "disabled"
    assert not box.succeeds("systemctl", "is-active", "kwsd")

    heard = box.check("kwsd", "--replay", "/run/samples/living_room.flac", timeout_s=120)
    assert heard.count('"type": "wake"') == 2
    box.check("sh", "-c", "kwsctl --help && kwsmodel --help && kwsd --print-config")

    # No microphone here: the service starts all the same and says that it looks for one.
    box.check("systemctl", "enable", "kwsd")
    box.check("systemctl", "start", "--no-block", "kwsd")
    box.check("sh", "-c", "for _ in $(seq 100); do kwsctl status && exit; sleep 0.3; done; exit 1")

    # A configuration that the administrator deleted stays away, and the upgrade works.
    box.check("rm", "/etc/kwsd/kwsd.toml")
    box.check("dpkg", "--install", file, timeout_s=300)
    assert "ok installed" in box.check("dpkg-query", "--show", "--showformat=${Status}", "kwsd")
    assert not box.succeeds("test", "-e", "/etc/kwsd/kwsd.toml")
    box.check("dpkg", "--install", "--force-confmiss", file, timeout_s=300)

    box.check("sh", "-c", "echo '# mine' >> /etc/kwsd/kwsd.toml")
    box.check("dpkg", "--install", "--force-confold", file, timeout_s=300)
    assert "# mine" in box.check("cat", "/etc/kwsd/kwsd.toml")

    box.check("dpkg", "--remove", "kwsd", timeout_s=120)
    assert not box.succeeds("systemctl", "is-active", "kwsd")
    assert box.succeeds("test", "-e", "/etc/kwsd/kwsd.toml")
    box.check("dpkg", "--purge", "kwsd", timeout_s=120)
    assert not box.succeeds("id", "kwsd")
    assert not box.succeeds("test", "-e", "/var/lib/kwsd")
    # Account files keep a backup of themselves; caches are not the package's.
    left = {path for path in listing(box) - before if not path.endswith("-")}
    left = {path for path in left if not path.startswith(("/var/lib/systemd/", "/etc/.pwd.lock"))}
    assert left == set()
