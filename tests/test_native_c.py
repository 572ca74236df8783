"""The C sources by themselves: warnings, sanitizers, other targets, fuzz."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

DSP = Path(__file__).parent.parent / "dsp"
SOURCES = sorted(DSP.glob("*.c"))
C_TESTS = sorted((DSP / "ctest").glob("test_*.c"))
WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
MATH = ["-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1"]
FREESTANDING = ["-ffreestanding", "-O1"]
HOSTED = ["-O3"]

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")


def compile_with(compiler: str, *words: str | Path) -> None:
    result = subprocess.run(
        [compiler, *map(str, words)], capture_output=True, text=True, check=False, timeout=300
    )
    assert result.returncode == 0, result.stderr


def test_what_is_tested_is_built_with_the_flags_of_what_is_shipped() -> None:
    """Without contraction: fused operations would give other bits on processors that have them."""
    build = (DSP.parent / "CMakeLists.txt").read_text()
    options = re.search(r"target_compile_options\(kwsdsp PRIVATE \$\{warnings\}([^)]*)\)", build)
    assert options is not None
    assert options.group(1).split() == MATH
    assert "-ffp-contract=off" in MATH


# gcc for a hosted target is part of the next test.
@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("gcc", FREESTANDING),
        ("aarch64-linux-gnu-gcc", FREESTANDING),
        pytest.param("aarch64-linux-gnu-gcc", HOSTED, marks=pytest.mark.slow),
        pytest.param("gcc", HOSTED, marks=pytest.mark.slow),
        pytest.param("clang", HOSTED, marks=pytest.mark.slow),
        pytest.param("clang", FREESTANDING, marks=pytest.mark.slow),
    ],
)
def test_it_compiles_without_a_warning(compiler: str, flags: list[str], tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    for source in SOURCES:
        compile_with(compiler, *WARNINGS, *MATH, *flags, "-c", source, "-o", tmp_path / "x.o")


@needs_gcc
def test_it_calls_nothing_but_the_mathematical_and_memory_functions(tmp_path: Path) -> None:
    """No malloc, lock or input and output: what the objects ask for from outside says so."""
    allowed = {"memcpy", "memmove", "memset", "memcmp", "_GLOBAL_OFFSET_TABLE_"}
    allowed |= {
        "sincos",
        "sincosf",
        "sqrtf",
        "cosf",
        "sinf",
        "log10f",
        "cos",
        "sin",
        "log10",
        "pow",
        "sqrt",
    }
    wanted, given = set(), set()
    for source in SOURCES:
        target = tmp_path / f"{source.stem}.o"
        compile_with("gcc", *WARNINGS, *MATH, "-O1", "-DKWS_NO_CLONES", "-c", source, "-o", target)
        symbols = subprocess.run(["nm", str(target)], capture_output=True, text=True, check=True)
        for line in symbols.stdout.splitlines():
            *_, kind, symbol = line.split()
            (wanted if kind == "U" else given).add(symbol)
            # Writable globals would be shared between callers.
            assert kind not in "BbDdCGgSs", f"{source.name}: writable global {symbol}"
    assert wanted - given <= allowed


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Objects of the core under the sanitizers."""
    folder = tmp_path_factory.mktemp("sanitized")
    objects = [folder / f"{source.stem}.o" for source in SOURCES]
    for source, target in zip(SOURCES, objects, strict=True):
        compile_with("gcc", *WARNINGS, *MATH, *SANITIZERS, "-c", source, "-o", target)
    return objects


@needs_gcc
@pytest.mark.parametrize("test", C_TESTS, ids=[path.stem for path in C_TESTS])
def test_c_tests_pass_under_sanitizers(test: Path, sanitized: list[Path], tmp_path: Path) -> None:
    program = tmp_path / test.stem
    compile_with(
        "gcc", *WARNINGS, *MATH, *SANITIZERS, f"-I{DSP}", test, *sanitized, "-lm", "-o", program
    )
    result = subprocess.run([str(program)], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


def fuzz(objects: list[Path], tmp_path: Path, runs: int, first_seed: int) -> None:
    program = tmp_path / "fuzz"
    # aligned_alloc is of C11; only the driver uses it.
    words = ["-std=c11", *WARNINGS[1:], *MATH, *SANITIZERS, f"-I{DSP}"]
    compile_with("gcc", *words, DSP / "ctest/fuzz_frontend.c", *objects, "-lm", "-o", program)
    result = subprocess.run(
        [str(program), str(runs), str(first_seed)],
        capture_output=True,
        text=True,
        check=False,
        timeout=3000,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]


@needs_gcc
def test_fuzz_under_sanitizers(sanitized: list[Path], tmp_path: Path) -> None:
    fuzz(sanitized, tmp_path, runs=8, first_seed=1)


@needs_gcc
@pytest.mark.slow
def test_long_fuzz_under_sanitizers(sanitized: list[Path], tmp_path: Path) -> None:
    fuzz(sanitized, tmp_path, runs=1500, first_seed=1000)
