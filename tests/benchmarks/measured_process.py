"""Runs a command and says how long it took and how much memory it needed at its peak."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Linux carries the peak of the process that execs over to the command: started from here, which holds numpy
# and more, every command would seem to need at least as much. So a Python that imports next to nothing (about
# 10 MB) starts it, and wait4 tells the peak of this one child.
_LAUNCHER = """
import json, os, sys, time
started = time.monotonic()
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
seconds = time.monotonic() - started
with open(sys.argv[1], "w") as file:
    json.dump({"seconds": seconds, "maxrss": usage.ru_maxrss}, file)
sys.exit(min(1, abs(os.waitstatus_to_exitcode(status))))
"""
_MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class MeasuredProcess:
    """What a command that ended with 0 has done.

    Attributes:
        seconds: From its start to its end; of a Python program that includes its imports.
        peak_bytes: The most memory that was resident at once, in the largest of its processes.
        stdout: What it printed.
    """

    seconds: float
    peak_bytes: int
    stdout: str


def run_measured(
    command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> MeasuredProcess:
    """Run a command.

    Args:
        command: The absolute path of a program, and its arguments.
        folder: Where it runs.
        environment: Its environment; None: ours.

    Raises:
        RuntimeError: It did not end with 0; with the end of what it printed.
    """
    with tempfile.NamedTemporaryFile("r") as usage_file:
        process = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, usage_file.name, *command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            ending = f"{process.stdout[-1000:]}\n{process.stderr[-3000:]}"
            raise RuntimeError(f"{' '.join(command)} failed:\n{ending}")
        usage = json.load(usage_file)
    return MeasuredProcess(usage["seconds"], usage["maxrss"] * _MAXRSS_UNIT_BYTES, process.stdout)
