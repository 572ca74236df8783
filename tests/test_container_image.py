"""The Dockerfile: what it promises, and that it builds where an engine is."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def instructions() -> list[tuple[str, str]]:
    """Instruction and argument of each line, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(line.split()[0], line.split(None, 1)[1]) for line in lines if line.strip()]


def last(name: str) -> str:
    return [argument for word, argument in instructions() if word == name][-1]


def test_the_last_stage_ends_as_an_ordinary_user() -> None:
    words = [word for word, _ in instructions()]
    stages = [index for index, word in enumerate(words) if word == "FROM"]
    assert len(stages) == 2
    assert last("USER") == "10001"
    assert f"--uid {last('USER')} " in last("RUN")
    assert words.index("USER") > stages[-1]
    # Nothing is compiled where the service runs.
    final = " ".join(argument for _, argument in instructions()[stages[-1] :])
    assert "gcc" not in final and "pip" not in final


def test_every_stage_has_the_base_that_can_be_made_without_a_registry() -> None:
    bases = [argument.split()[0] for word, argument in instructions() if word == "FROM"]
    # One base, or the links of the copied environment lead to an interpreter that is not there.
    assert len(set(bases)) == 1
    # tests/package/build_container.sh makes it of Debian's packages by this name.
    assert re.fullmatch(r"debian:[a-z]+-slim", bases[0])
    installs = [argument for _, argument in instructions() if "apt-get install" in argument]
    assert len(installs) == 2
    assert all("python3 " in install for install in installs)


def test_nothing_is_kept_that_only_the_build_needs() -> None:
    for word, argument in instructions():
        if word == "RUN" and "apt-get update" in argument:
            assert "--no-install-recommends" in argument
            assert "rm -rf /var/lib/apt/lists/*" in argument
    build = next(argument for word, argument in instructions() if "pip install" in argument)
    assert "pip uninstall --yes setuptools pip" in build


def test_the_entry_and_the_health_check_are_programs_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    entry = json.loads(last("ENTRYPOINT"))
    check = json.loads(last("HEALTHCHECK").split("CMD", 1)[1])
    assert entry[0] in project["scripts"]
    assert check == ["kwsctl", "status"]


def test_the_extras_it_installs_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    install = next(argument for word, argument in instructions() if "pip install" in argument)
    extras = re.search(r"'\.\[(.*?)\]'", install)
    assert extras is not None
    assert set(extras[1].split(",")) <= set(project["optional-dependencies"])


def test_no_architecture_is_fixed() -> None:
    text = (ROOT / "Dockerfile").read_text()
    code = re.sub(r"^#.*", "", text, flags=re.MULTILINE)
    assert not re.search(r"amd64|arm64|x86_64|aarch64|--platform", code)


def test_what_the_build_reads_is_sent_to_it() -> None:
    patterns = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line[:1] not in ("", "#")
    ]
    for needed in (
        "CMakeLists.txt",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "kwsd",
        "dsp",
        "models",
    ):
        assert (ROOT / needed).exists()
        assert not [pattern for pattern in patterns if fnmatch.fnmatch(needed, pattern)], needed
    for private in (".git", ".venv", "runs"):
        assert [pattern for pattern in patterns if fnmatch.fnmatch(private, pattern)], private


@pytest.mark.slow
def test_it_builds_and_the_image_hears_the_sample() -> None:
    """Over a stand-in where the base cannot be fetched; the script says which it was."""
    result = subprocess.run(
        [str(ROOT / "tests/package/build_container.sh")],
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,
    )
    if result.returncode == 69:
        pytest.skip(result.stderr.strip())
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    assert re.search(r"^base: (a stand-in for )?debian:", result.stdout, re.MULTILINE)
    print(next(line for line in result.stdout.splitlines() if line.startswith("base: ")))
    for told in (
        "health check without a daemon: exit code 69",
        "health check with a daemon: exit code 0",
        "live: both words heard",
    ):
        assert told in result.stdout
