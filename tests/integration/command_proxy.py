"""A proxy before the test server that counts commands and cuts the line at one of them."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from types import TracebackType

    from redismigrate.redis_server.embedded import EmbeddedServer

Loss = Literal["request", "reply"]
# The n-th of all commands, or the n-th of those that contain one of these byte strings.
Place = int | tuple[int, tuple[bytes, ...]]


class CommandProxy:
    """Passes commands on until one gets lost, with all connections; then nobody gets through any more.

    Args:
        unix_socket: The server behind it.
        cut_at: The command that gets lost, counted from 1 over all connections; None for none.
        loss: Whether it gets lost before the server has it, or its reply after the server has carried it out.
        is_restored: Whether new connections get through at once, as after a short outage.
    """

    def __init__(
        self,
        unix_socket: str,
        cut_at: Place | None = None,
        loss: Loss = "request",
        *,
        is_restored: bool = False,
    ) -> None:
        self._unix_socket = unix_socket
        self._cut_at = cut_at[0] if isinstance(cut_at, tuple) else cut_at
        self._words = cut_at[1] if isinstance(cut_at, tuple) else (b"",)
        self._loss = loss
        self._is_restored = is_restored
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._seen = 0
        self.has_cut = False

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # close() alone does not wake a thread that waits in accept() or recv().
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut()
        for thread in self._threads:
            thread.join()

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.has_cut and not self._is_restored:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._unix_socket)
            with self._lock:
                self._open += [client, server]
            is_withheld = threading.Event()
            self._start(self._forward, client, server, is_withheld)
            self._start(self._answer, client, server, is_withheld)

    def _forward(self, client: socket.socket, server: socket.socket, is_withheld: threading.Event) -> None:
        """Pass commands on one by one, as Redis's protocol frames them: *2 $3 GET $1 k."""
        with suppress(OSError, ValueError), client.makefile("rb") as stream:
            while header := stream.readline():
                command = [header]
                for _ in range(int(header[1:])):
                    size = stream.readline()
                    command += [size, stream.read(int(size[1:]) + 2)]
                text = b"".join(command)
                is_lost = self._is_lost(text)
                if is_lost and self._loss == "request":
                    self._cut()
                    return
                if is_lost:
                    is_withheld.set()
                server.sendall(text)
        _shut(server)

    def _answer(self, client: socket.socket, server: socket.socket, is_withheld: threading.Event) -> None:
        with suppress(OSError):
            while reply := server.recv(1 << 16):
                if is_withheld.is_set():
                    self._cut()
                    return
                client.sendall(reply)
        _shut(client)

    def _is_lost(self, command: bytes) -> bool:
        with self._lock:
            self._seen += any(word in command for word in self._words)
            is_lost = not self.has_cut and self._seen == self._cut_at
            self.has_cut |= is_lost
        return is_lost

    def _cut(self) -> None:
        with self._lock:
            connections, self._open = self._open, []
        for connection in connections:
            _shut(connection)
            connection.close()


def proxy_to(
    server: EmbeddedServer, cut_at: Place | None = None, loss: Loss = "request", *, is_restored: bool = False
) -> CommandProxy:
    """A proxy before a server that listens on a Unix socket."""
    return CommandProxy(server.url.removeprefix("unix://"), cut_at, loss, is_restored=is_restored)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
