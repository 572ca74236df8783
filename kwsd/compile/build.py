"""Running ``aipubuild`` over a kit, where the vendor's tools are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from kwsd.compile.configuration import GRAPH
from kwsd.errors import ModelError

COMPILER = "aipubuild"
LOG = "aipubuild.log"


def find_compiler() -> str | None:
    """Path of ``aipubuild``, None where it is not installed."""
    return shutil.which(COMPILER)


def run_compiler(compiler: str, folder: Path, configuration: str) -> Path:
    """Compile a kit; everything that the compiler says goes to ``aipubuild.log`` in it.

    Returns
    -------
    Path
        The graph.

    Raises
    ------
    ModelError
        The compiler refused the network, or gave no graph.
    """
    graph = folder / GRAPH
    # A graph of an earlier run must not pass for this one's.
    graph.unlink(missing_ok=True)
    log = folder / LOG
    with log.open("wb") as file:
        done = subprocess.run(
            [os.path.abspath(compiler), configuration],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0 or not graph.is_file():
        what = f"status {done.returncode}" if done.returncode else f"without {GRAPH}"
        raise ModelError(
            f"{COMPILER} {configuration} ended with {what}{_last_error(log)}; all it said is in "
            f"{log}"
        )
    return graph


def _last_error(log: Path) -> str:
    """The last line that looks like an error, else the last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "[E]" in line or "error" in line.lower()]
    last = (errors or lines)[-1:]
    return f": {last[0][:200]}" if last else ""
