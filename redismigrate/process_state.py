"""Keeps what this process needs, while code of others runs in it: its streams, folder, signals and limits."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

_DESCRIPTORS = (1, 2)
_STREAMS = {"stdout": 1, "stderr": 2}
# Whose handlers may raise: of a person, a supervisor, or a caller's own limit of time.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


class KeptProcessState:
    """Owns the state of the process during a `with` block, and brings back what was lost in it.

    Streams that were closed or replaced, the descriptors below them if they were closed, the working
    directory, the handlers of signals that end it, a limit of recursion that was lowered, and `sys.path` are
    as before afterwards.

    Attributes:
        interruption: What the handler of a signal raised meanwhile. Code can raise KeyboardInterrupt by
            itself; this tells the person's Ctrl-C from that.
    """

    def __init__(self) -> None:
        self.interruption: BaseException | None = None
        self._descriptors: dict[int, int] = {}
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._streams = {name: getattr(sys, name, None) for name in _STREAMS}
        self._attributes = {name: _own_attributes(stream) for name, stream in self._streams.items()}
        for number in _DESCRIPTORS:
            with suppress(OSError):  # there is none: a daemon
                self._descriptors[number] = os.dup(number)
        self._recursion_limit = sys.getrecursionlimit()
        self._path, self._path_entries = sys.path, list(sys.path)
        self._folder = _working_directory()
        for which in _SIGNALS:
            before = signal.getsignal(which)
            if not callable(before):
                continue  # ignored, or not Python's
            with suppress(ValueError):  # only the main thread may, and only it gets signals
                signal.signal(which, self._noting(before))
                self._handlers[which] = before
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if sys.getrecursionlimit() < self._recursion_limit:
            sys.setrecursionlimit(self._recursion_limit)
        for which, handler in self._handlers.items():
            signal.signal(which, handler)
        for number, saved in self._descriptors.items():
            _bring_back_descriptor(number, saved)
        for name, number in _STREAMS.items():
            self._bring_back_stream(name, number)
        # The list itself is what others hold; what modules have added to it stays.
        if sys.path is not self._path:
            sys.path = self._path
        if not all(isinstance(entry, str) for entry in sys.path) or set(self._path_entries) - set(sys.path):
            sys.path[:] = self._path_entries
        if self._folder is not None and _working_directory() != self._folder:
            with suppress(OSError):  # it was removed
                os.chdir(self._folder)

    def _noting(self, handler: Any) -> Any:
        def note(number: int, frame: FrameType | None) -> Any:
            try:
                return handler(number, frame)
            except BaseException as error:
                self.interruption = error
                raise

        return note

    def _bring_back_stream(self, name: str, number: int) -> None:
        before = self._streams[name]
        for attribute in _own_attributes(before) - self._attributes[name]:
            with suppress(Exception):  # a method of its own in place of the stream's
                delattr(before, attribute)
        if before is None or (getattr(sys, name, None) is before and _is_usable(before)):
            return
        if _is_usable(before):
            setattr(sys, name, before)
        elif not _is_usable(getattr(sys, name, None)):
            setattr(sys, name, _opened(number))


def _working_directory() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # it was removed
        return None


def _bring_back_descriptor(number: int, saved: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        with suppress(OSError):
            os.dup2(saved, number)
    with suppress(OSError):
        os.close(saved)


def _own_attributes(stream: Any) -> set[str]:
    try:
        return set(vars(stream))
    except Exception:  # noqa: BLE001 - it has none, or is no stream
        return set()


def _is_usable(stream: Any) -> bool:
    try:
        return not stream.closed and bool(stream.writable())
    except Exception:  # noqa: BLE001 - detached, or not a stream at all
        return False


def _opened(number: int) -> Any:
    try:
        return os.fdopen(os.dup(number), "w", encoding="utf-8", errors="backslashreplace")
    except OSError:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - it is open until Python ends
