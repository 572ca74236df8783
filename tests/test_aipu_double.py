"""The double itself fails in the ways that are noted of the driver, so that tests mean something.

Each case loads the library into a process of its own, as some of them end it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from aipu_double.container import container

pytest_plugins = ("aipu_double.fixtures",)

PREAMBLE = """
import ctypes, os, signal, sys, threading, time
from ctypes import byref, c_int
from kwsd.runtime.aipu.binding import Library, StatusError
library = Library(sys.argv[1])
context = library.init_context()
graph = library.load_graph(context, sys.argv[2])
data = ctypes.create_string_buffer(64)

def status(call, *arguments):
    try:
        call(context, *arguments)
    except StatusError as error:
        return error.status
    return 0

def fed():
    job = library.create_job(context, graph)
    assert library.load_tensor(context, job, 0, data) == 0
    return job
"""

CASES = {
    "order of calls": """
job = fed()
print(library.get_tensor(context, job, 1, 0, data), library.finish_job(context, job, 100),
      library.get_tensor(context, job, 1, 0, data))
""",
    "running job refuses": """
job = fed()
print(library.finish_job(context, job, 10), library.load_tensor(context, job, 0, data),
      library.finish_job(context, job, 10))
""",
    "late end goes to the reused id": """
first = fed()
library.finish_job(context, first, 10)
library.clean_job(context, first)
second = fed()
print(first == second, library.finish_job(context, second, 500))
""",
    "signal ends a wait": """
signal.signal(signal.SIGALRM, lambda *_: None)
job = fed()
signal.setitimer(signal.ITIMER_REAL, 0.05)
print(library.finish_job(context, job, 1000), library.job_status(context, job, 1000))
""",
    "second unload locks": """
library.unload_graph(context, graph)
print(status(library.unload_graph, graph), flush=True)
thread = threading.Thread(target=status, args=(library.descriptors, graph, 0), daemon=True)
thread.start()
thread.join(0.2)
print(thread.is_alive())
sys.stdout.flush()
os._exit(0)
""",
    "ends with a live graph": "pass",
}


@pytest.mark.parametrize(
    ("case", "script", "returncode", "output"),
    [
        ("order of calls", "", -6, "20 0 0"),
        ("running job refuses", "finish 0 late 5000", -6, f"{0x23} {0x14} {0x14}"),
        ("late end goes to the reused id", "finish 0 late 100", -6, f"True {0x11}"),
        ("signal ends a wait", "finish 0 late 150", -6, "4 1"),
        ("second unload locks", "", 0, f"{0xB} True"),
        ("ends with a live graph", "", -6, ""),
    ],
)
def test_behaves_like_the_notes(double, tmp_path, case, script, returncode, output):
    double.script(script)
    graph = tmp_path / "model.aipu.bin"
    graph.write_bytes(container([(16, 3, 1.0, 0)], [(16, 3, 1.0, 0)]))
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + CASES[case], str(double.library), str(graph)],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parent.parent),
            "UMD_LOG_LEVEL": "6",
        },
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stdout.split() == output.split(), done.stderr
    assert done.returncode == returncode
