"""The command `redismigrate` without its start: a stub on the PATH that has a warm process fork itself.

A start takes a third of a second, nearly all of it imports. Who only types commands, as the reader of a page
does, gets each of them from a process that has imported everything. What runs is the entry point, with the
stub's arguments, environment, folder and descriptors; the stub ends as it ends, by a signal too. One thing
differs: a signal to the stub other than SIGKILL is none to the command. Tests that send signals, or that are
about the start itself, start the installed command.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import marshal
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

# Isolated and without `site`, it starts in ten milliseconds.
_STUB = """\
#!{python} -IS
import _socket, marshal, os, sys
connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
connection.connect({address!r})
words = marshal.dumps((sys.argv, os.getcwdb(), dict(os.environb)))
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
connection.sendmsg([len(words).to_bytes(4, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
connection.sendall(words)
answer = connection.recv(4)
code = int.from_bytes(answer, "big", signed=True) if answer else 255
if code < 0:
    os.kill(os.getpid(), -code)
os._exit(code)
"""


class WarmCommands:
    """A folder for the PATH with a `redismigrate` that starts at once, during a `with` block.

    Args:
        folder: An empty one, whose path is short enough for a socket.

    Attributes:
        folder: As given.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Path:
        address = self.folder / "socket"
        stub = self.folder / "redismigrate"
        stub.write_text(_STUB.format(python=sys.executable, address=str(address)), encoding="utf-8")
        stub.chmod(0o755)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(address))
        listener.listen()
        with listener:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(listener.fileno())],
                stdin=subprocess.PIPE,  # whose end is the end of it
                pass_fds=[listener.fileno()],
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # what forks has no other threads
            )
        return self.folder

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def _serve(listener: socket.socket) -> None:
    """Fork for whoever connects, until standard input ends."""
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj == 0:
                    return
                if key.fileobj is listener:
                    _begin(selector, listener.accept()[0])
                elif selector.get_map().get(key.fileobj) is key:
                    _end(selector, *key.data)


def _begin(selector: selectors.BaseSelector, connection: socket.socket) -> None:
    length, streams, *_ = socket.recv_fds(connection, 4, 3)
    with connection.makefile("rb") as reader:
        words = marshal.loads(reader.read(int.from_bytes(length, "big")))  # noqa: S302 - of our stub
    child = os.fork()
    if child == 0:
        _become(words, streams)
    for number in streams:
        os.close(number)
    handle = os.pidfd_open(child)
    # Either the command ends or its stub does, which was killed then.
    for each in (connection, handle):
        selector.register(each, selectors.EVENT_READ, (connection, handle))


def _end(selector: selectors.BaseSelector, connection: socket.socket, handle: int) -> None:
    for each in (connection, handle):
        selector.unregister(each)
    signal.pidfd_send_signal(handle, signal.SIGKILL)  # nothing to one that has ended
    ended = os.waitid(os.P_PIDFD, handle, os.WEXITED)
    os.close(handle)
    assert ended is not None
    code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
    with suppress(OSError), connection:
        connection.sendall(code.to_bytes(4, "big", signed=True))


def _become(words: tuple[list[str], bytes, dict[bytes, bytes]], streams: list[int]) -> None:
    """Be the command: nothing of the process that forked is left but its modules."""
    code = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.closerange(3, 256)
        sys.argv, folder, environment = words
        os.chdir(folder)
        os.environb.clear()
        os.environb.update(environment)
        sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
        for number, name, errors in ((1, "stdout", "strict"), (2, "stderr", "backslashreplace")):
            raw = open(number, "w", buffering=1, errors=errors, closefd=False)  # noqa: SIM115
            setattr(sys, name, raw)
            setattr(sys, f"__{name}__", raw)
        code = _exit_code()
    finally:
        os._exit(code)


def _exit_code() -> int:
    from redismigrate.cli import main

    try:
        main()
    except SystemExit as leaving:
        code: Any = leaving.code
    # What Python does at its end.
    shut_down: Any = getattr(threading, "_shutdown")  # noqa: B009 - nobody may, and so no type checker knows
    shut_down()
    run_exit_functions: Any = getattr(atexit, "_run_exitfuncs")  # noqa: B009
    run_exit_functions()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return int(code or 0)


# What is imported inside of functions.
_WHEN_NEEDED = ("jinja2.sandbox", "numpy", "rich.console", "rich.live", "rich.progress", "rich.table", "yaml")


def _import_everything() -> None:
    import redismigrate

    sys.path.pop(0)  # the folder of this file
    for module in pkgutil.walk_packages(redismigrate.__path__, "redismigrate."):
        if not module.name.endswith(("__main__", ".plugin")):
            importlib.import_module(module.name)
    for name in _WHEN_NEEDED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else the first collection in each child copies all of it


if __name__ == "__main__":
    _import_everything()
    _serve(socket.socket(fileno=int(sys.argv[1])))
