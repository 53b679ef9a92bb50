"""A private Redis with Search for development and tests, which never outlives the process that started it.

Leaving the `with` block, `stop()`, an exception, `sys.exit` and Ctrl-C: this process stops the server, at
the latest from `atexit`. Server and watchdog have sessions of their own, so a terminal's Ctrl-C reaches
this process alone, which may still need the server while it cleans up.

SIGTERM's default action, SIGKILL, a crash: a watchdog stops it, a `/bin/sh` that blocks reading a pipe
whose other end only this process holds; the kernel closes that when the process dies, however it dies. The
server tells its process id through the pipe before it becomes a redis-server, so no moment is unguarded.
(PR_SET_PDEATHSIG exists on Linux only, and fires when the *thread* that forked ends.) Children forked
without exec inherit the pipe: while one of them lives, so does the server. No signal handler is installed
here: that is for the program to decide, and `SystemExit` raised from one ends the server in order.

The server always listens on a Unix socket in a folder that nobody else can enter. Whether it is up is asked
there, where no other server that has taken the TCP port meanwhile can answer.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, unquote, urlsplit

from redismigrate.errors import ConfigurationError, EmbeddedServerUnavailable
from redismigrate.redis_server.server_binary import find_server_binary, log_excerpt, server_environment
from redismigrate.shown_url import shown_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from redismigrate.redis_server.server_binary import ServerBinary

_LOOPBACK = "127.0.0.1"
_LOG_NAME = "server.log"
_SOCKET_NAME = "redis.sock"
# sun_path holds 108 bytes on Linux and 104 on macOS, the closing NUL included.
_SOCKET_PATH_BYTES = 103
_PORT_ATTEMPTS = 10
_POLL_SECONDS = 0.005
# Until it listens; how long it loads data after that depends on the data.
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
# A server whose parent was killed holds its folder until the watchdog has stopped it.
_LOCK_SECONDS = 2.0

# $0 is the log, $@ the server. Standard output is the watchdog's pipe until the log is open.
_SERVER_SCRIPT = 'echo $$; exec >"$0" 2>&1; exec "$@"'

# $0 is the folder of the socket, $1 the signal to end with; a second line tells of an orderly stop.
# SIGKILL follows SIGTERM because Redis looks at that between commands only.
_WATCHDOG_SCRIPT = """
read -r server || { rm -rf -- "$0"; exit 0; }
read -r stopped && exit 0
kill -s "$1" "$server"
rm -rf -- "$0"
for second in 1 2 3 4 5 6 7 8 9 10; do
  sleep 1
  kill -s 0 "$server" || exit 0
done
kill -s KILL "$server"
"""


class EmbeddedServer:
    """Owns one redis-server process with Search and JSON that only this machine can reach.

    Args:
        data_dir: Folder that keeps the data, created if missing; an append-only file is synced every second
            and when the server stops. None keeps nothing.
        port: TCP port on 127.0.0.1 to listen on as well; 0 is any free one. None: only the Unix socket.
        server_arguments: Further arguments of redis-server, for example `("--maxmemory", "100mb")`.
        module_arguments: Arguments of redisearch.so, for example `("PARTIAL_INDEXED_DOCS", "1")`.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        port: int | None = None,
        server_arguments: Sequence[str] = (),
        module_arguments: Sequence[str] = (),
    ) -> None:
        self.data_dir = data_dir.absolute() if data_dir is not None else None
        self._port = port
        self._server_arguments = tuple(server_arguments)
        self._module_arguments = tuple(module_arguments)
        self._owned = ExitStack()
        self._owner_pid: int | None = None
        self._url, self._pid = "", 0

    @property
    def url(self) -> str:
        """For redis-py: `redis://127.0.0.1:PORT` if a port was asked for, else `unix:///….sock`."""
        self._require_started()
        return self._url

    @property
    def pid(self) -> int:
        """The process id of the redis-server."""
        self._require_started()
        return self._pid

    def start(self) -> None:
        """Start the server; when this returns it answers, and data that was kept is loaded.

        Raises:
            EmbeddedServerUnavailable: No server with Search starts on this machine, or not with these
                arguments; or another one uses the folder or the port.
            ConfigurationError: The folder can't hold data.
            RuntimeError: The server was started already.
        """
        if self._owner_pid is not None:
            raise RuntimeError("The embedded server was started already.")
        binary = find_server_binary()
        with _locked(self.data_dir) as inherited:
            for attempts_left in reversed(range(_PORT_ATTEMPTS)):
                try:
                    self._launch(binary, _free_port() if self._port == 0 else self._port, inherited)
                    break
                except EmbeddedServerUnavailable as error:
                    # The log says so when another process has taken the free port meanwhile.
                    if self._port != 0 or not attempts_left or "Address already in use" not in error.message:
                        raise

    def stop(self) -> None:
        """Stop the server if it runs, and remove everything but the data in `data_dir`.

        In a forked child this does nothing: the server belongs to the process that started it.
        """
        if self._owner_pid == os.getpid():
            atexit.unregister(self.stop)
            self._owner_pid = None
            self._owned.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _require_started(self) -> None:
        if self._owner_pid is None:
            raise RuntimeError("The embedded server does not run: start it first.")

    def _launch(self, binary: ServerBinary, port: int | None, inherited: tuple[int, ...]) -> None:
        # At SIGTERM Redis writes and syncs what it keeps; where nothing is kept, waiting for that is wasted.
        stop_signal = signal.SIGKILL if self.data_dir is None else signal.SIGTERM
        with ExitStack() as owned:
            run_folder = _new_run_folder()
            folder = self.data_dir or run_folder
            watchdog = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHDOG_SCRIPT, run_folder, stop_signal.name.removeprefix("SIG")],
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            owned.callback(watchdog.communicate, b"stopped\n")
            owned.callback(shutil.rmtree, run_folder, ignore_errors=True)
            command = self._command(binary, folder, run_folder / _SOCKET_NAME, port)
            server = subprocess.Popen(
                ["/bin/sh", "-c", _SERVER_SCRIPT, folder / _LOG_NAME, *command],
                cwd=folder,
                env=server_environment(),
                stdin=subprocess.DEVNULL,
                stdout=watchdog.stdin,
                start_new_session=True,
                pass_fds=inherited,
            )
            owned.callback(_end, server, stop_signal)
            _wait_until_up(server, run_folder / _SOCKET_NAME, folder / _LOG_NAME)
            self._owned = owned.pop_all()
        socket_url = f"unix://{quote(str(run_folder / _SOCKET_NAME))}"
        self._url = socket_url if port is None else f"redis://{_LOOPBACK}:{port}"
        self._pid = server.pid
        self._owner_pid = os.getpid()
        atexit.register(self.stop)

    def _command(self, binary: ServerBinary, folder: Path, unix_socket: Path, port: int | None) -> list[str]:
        command = [str(binary.executable), "--bind", _LOOPBACK, "--port", str(port or 0)]
        command += ["--unixsocket", str(unix_socket), "--unixsocketperm", "700", "--protected-mode", "yes"]
        command += ["--dir", str(folder), "--save", "", "--appendfsync", "everysec"]
        command += ["--appendonly", "no" if self.data_dir is None else "yes"]
        for module in binary.modules:
            command += ["--loadmodule", str(module)]
            if module.name == "redisearch.so":
                command += self._module_arguments
        return [*command, *self._server_arguments]


def embedded_from_url(url: str) -> EmbeddedServer:
    """The server that an embedded URL asks for, not started.

    Args:
        url: `embedded://` keeps nothing; `embedded:///path` keeps its data in the folder /path.

    Raises:
        ConfigurationError: It is neither of the two.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    if not url.startswith("embedded://") or parts.netloc or parts.query or parts.fragment or path == "/":
        raise ConfigurationError(
            f"{shown_url(url)} is not the URL of an embedded server.",
            "Write embedded:// for a temporary one, or embedded:///absolute/path to keep its data there.",
        )
    return EmbeddedServer(data_dir=Path(path) if path else None)


@contextmanager
def _locked(folder: Path | None) -> Iterator[tuple[int, ...]]:
    """Lock the folder and yield the file descriptor that the server is to inherit.

    The kernel holds the lock until the last process with that descriptor, the server, is gone: the folder is
    locked as long as something writes to it, whoever is killed.
    """
    if folder is None:
        yield ()
        return
    deadline = time.monotonic() + _LOCK_SECONDS
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "server.lock").open("wb")
    except OSError as error:
        message = f"{folder} can't hold the data of an embedded server: {error.strerror}."
        raise ConfigurationError(message, "Name a folder that can be written.") from error
    with lock:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() > deadline:
                raise EmbeddedServerUnavailable(
                    f"Another embedded server uses {folder}.", "Stop it, or name another folder."
                )
            time.sleep(_POLL_SECONDS)
        yield (lock.fileno(),)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _new_run_folder() -> Path:
    # Not in data_dir, whose path may be too long for a socket, or on a file system that has none.
    typical = Path(tempfile.gettempdir(), "redismigrate-12345678", _SOCKET_NAME)
    parent = "/tmp" if len(os.fsencode(typical)) > _SOCKET_PATH_BYTES else None  # noqa: S108 - made private
    return Path(tempfile.mkdtemp(prefix="redismigrate-", dir=parent))


def _wait_until_up(server: subprocess.Popen[bytes], unix_socket: Path, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        if _answers(unix_socket):
            return
        time.sleep(_POLL_SECONDS)
    output = log.read_text(errors="replace") if log.exists() else ""
    code = server.poll()
    ending = f"did not listen after {_START_SECONDS:.0f} s" if code is None else f"exited with {code}"
    message = "\n  ".join([f"The embedded server {ending}; its log ends:", *log_excerpt(output, 5)])
    raise EmbeddedServerUnavailable(message, "Check the arguments given to it and its folder.")


def _answers(unix_socket: Path) -> bool:
    """Wait for the answer to PING; False if nobody listens yet, or the server ends meanwhile.

    Without a limit: while it loads, Redis says -LOADING once per 1024 commands, and each is indexed again.
    """
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
        connection.connect(str(unix_socket))
        reply = b"-LOADING"
        while reply.startswith(b"-LOADING"):
            connection.sendall(b"PING\r\n")
            reply = connection.recv(64)
        return bool(reply)
    return False


def _end(server: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
    server.send_signal(stop_signal)
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
