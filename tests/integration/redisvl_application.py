"""An application that uses RedisVL, in the Python that has it: it lives on while its indexes are migrated."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any, Self

import pytest

PYTHON = os.environ.get("REDISVL_PYTHON")
needs_redisvl = pytest.mark.skipif(
    not PYTHON, reason="set REDISVL_PYTHON to a Python that can import RedisVL 0.28, as .ci/run does"
)
PROGRAM = """
import json, sys, traceback

replies, sys.stdout = sys.stdout, sys.stderr
known = {}
for line in sys.stdin:
    request = json.loads(line)
    known |= request["values"]
    try:
        exec(request["program"], known)
        reply = {"answer": known.pop("answer", None)}
    except Exception as error:
        reply = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    print(json.dumps(reply), file=replies, flush=True)
"""


class ApplicationError(Exception):
    """The application raised; the text is the class and the text of its error."""


class Application:
    """A process that carries out programs, one after the other, with the names of those before.

    Args:
        python: Whose packages it has.
    """

    def __init__(self, python: str) -> None:
        # Not the modules that these tests find: PYTHONPATH names the checkout where the tests run from it.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [python, "-W", "ignore", "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def run(self, program: str, **values: Any) -> Any:
        """Carry out a program.

        Args:
            program: Its source; what it calls `answer` is returned.
            values: Names that it finds, as JSON has them.

        Raises:
            ApplicationError: The program raised.
        """
        print(json.dumps({"program": program, "values": values}), file=self._process.stdin, flush=True)
        reply = json.loads(self._process.stdout.readline())
        if "error" in reply:
            raise ApplicationError(reply["error"]) from RuntimeError(reply["traceback"])
        return reply["answer"]
