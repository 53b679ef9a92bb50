"""A connection for bulk traffic: commands are rendered once into bytes, replies parsed by hiredis.

redis-py renders and parses command by command, which for hundreds of thousands of small commands costs more
than the server's own work. It still makes the connection: TLS, users and URL options stay its business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import hiredis
import numpy as np
import redis
from numpy.typing import NDArray

from redismigrate.documents.columns import FixedWidth

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

RECEIVE_BYTES = 1 << 18
# hiredis moves all that it holds to the front of its buffer after every reply of more than a kilobyte.
FEED_BYTES = 1 << 13
# Of the replies that are received as one block.
MOST_BLOCK_BYTES = 16 << 20
# How an array of one value begins, and what may become that.
_HEAD = re.compile(rb"\*1\r\n\$([1-9][0-9]*)\r\n")
_PART_OF_HEAD = re.compile(rb"(\*(1(\r(\n(\$([1-9][0-9]*\r?)?)?)?)?)?)?")
_LONGEST_HEAD = 24
# The first word of an error reply in capitals says its kind; errors of modules often have none.
_KIND = re.compile(r"([A-Z][A-Z0-9_]+)(?: |$)")
_KINDS_OF_ONE_DOCUMENT = frozenset({"ERR", "WRONGTYPE", "NOPERM"})
NO_RIGHT = "the Redis user lacks a right on this key"
_NO_RIGHT = re.compile(r"NOPERM|ACL failure|no permissions? |user executing the script can't", re.IGNORECASE)
_NO_RIGHT_ON_KEY = re.compile(
    r"(?:access|touch) (?:a key|the '.*' key|one of the keys|at least one of the keys|the specified keys)",
    re.DOTALL,
)
# What the server adds to an error from inside of a script.
_PLACE_IN_SCRIPT = re.compile(r" script: \w+, on \S+?:\d+\.?$")
_ABOUT_THE_CONNECTION = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ExecAbortError,
    redis.exceptions.ClusterError,
)
# Errors of kind ERR that every other document would meet, too.
_OF_THE_SERVER = (
    "unknown command",
    "unknown redis command",
    "unknown subcommand",
    "wrong number of arg",
    "not allowed from script",
    "error compiling script",
    "max number of clients",
    "protocol error",
    "syntax error",
    "used memory > 'maxmemory'",
    "can't write against a read only",
    "multi calls can not be nested",
    "exec without multi",
    "watch inside multi",
    "is not allowed in transactions",
    "cluster support disabled",
    "invalid db index",
)


class Wire:
    """Owns one connection outside of the client's pool.

    Args:
        client: Where to connect to, and how.
        options: Of redis-py's connection that shall be others than the client's.
    """

    def __init__(self, client: redis.Redis, **options: Any) -> None:
        pool = client.connection_pool
        # Not pool.make_connection(): that counts all it ever made, and refuses the hundred and first.
        self._connection = pool.connection_class(**(pool.connection_kwargs | options))
        self._connection.connect()
        # redis-py offers the socket no other way; it is public in nothing but name since its first version.
        self._socket = self._connection._sock  # noqa: SLF001
        self._reader = hiredis.Reader()
        # What was received, of which the reader was fed what stands before the position.
        self._received, self._at = b"", 0

    def send(self, *commands: ReadableBuffer) -> None:
        """Send rendered commands, one after the other.

        Raises:
            redis.ConnectionError: The server is gone.
        """
        try:
            for part in commands:
                self._socket.sendall(part)
        except OSError as error:
            raise redis.ConnectionError(f"the connection was lost: {error}") from error

    def receive(self, count: int, *, precedes_column: bool = False) -> list[Any]:
        """The next replies; an error reply is a `hiredis.ReplyError` in the list.

        Args:
            count: How many.
            precedes_column: `receive_column` is called next. hiredis gives nothing back that it was fed, so
                it gets line by line: a reply ends with one.

        Raises:
            redis.ConnectionError: The server is gone.
        """
        replies: list[Any] = []
        get = self._reader.gets
        while len(replies) < count:
            reply = get()
            if reply is not False:
                replies.append(reply)
                continue
            if self._at == len(self._received):
                self._received, self._at = self._receive_bytes(), 0
            end = self._end_of_line() if precedes_column else self._at + FEED_BYTES
            self._reader.feed(memoryview(self._received)[self._at : end])  # type: ignore[arg-type]  # any buffer
            self._at = min(end, len(self._received))
        return replies

    def receive_column(self, count: int) -> FixedWidth | list[Any]:
        """The replies to as many HMGETs of one field each.

        Where they are values of one length, as vectors are, every reply has the head of the first one, and
        they are one block, for which hiredis need not make two objects each.

        Args:
            count: How many; 0 where a FILTER keeps all documents of a batch out.

        Returns:
            The values if they have one length, and nobody lacks one; else the replies.

        Raises:
            redis.ConnectionError: The server is gone.
        """
        if not count:
            return []
        while not (head := _HEAD.match(self._received, self._at)):
            rest = self._received[self._at : self._at + _LONGEST_HEAD]
            if not _PART_OF_HEAD.fullmatch(rest):
                return self.receive(count, precedes_column=True)
            self._received, self._at = rest + self._receive_bytes(), 0
        width = int(head[1])
        if count * (len(head[0]) + width + 2) <= MOST_BLOCK_BYTES:
            values = self._receive_block(count, head[0], width)
            if values is not None:
                return values
        return self.receive(count, precedes_column=True)

    def _receive_block(self, count: int, head: bytes, width: int) -> FixedWidth | None:
        """The values of replies with this head; None, and nothing is used up, when others are among them.

        To wait for more bytes is safe only while all heads are right: other replies may be shorter.
        """
        stride = len(head) + width + 2
        size = count * stride
        block, expected = np.empty(size, np.uint8), np.frombuffer(head, np.uint8)
        rows = block.reshape(count, stride)
        first = np.frombuffer(self._received, np.uint8)[self._at : self._at + size]
        filled = len(first)
        block[:filled] = first
        self._at += filled
        checked = 0
        while True:
            whole = (filled + stride - len(head)) // stride
            part = max(0, filled - whole * stride)
            is_right = np.array_equal(block[filled - part : filled], expected[:part])
            if not is_right or (rows[checked:whole, : len(head)] != expected).any():
                self._received, self._at = block[:filled].tobytes() + self._received[self._at :], 0
                return None
            if filled == size:
                return FixedWidth(rows[:, len(head) : -2])
            checked = whole
            filled += self._receive_into(block[filled:])

    def receive_exactly(self, expected: bytes) -> bool:
        """Whether the next replies are these bytes, which are used up then; else `receive` gives them.

        Args:
            expected: Replies from the first byte to the last. The parser must not have been fed any of them,
                so nothing is asked for before all earlier replies are received.

        Raises:
            redis.ConnectionError: The server is gone.
        """
        received = self._received[self._at :]
        # To wait for more is safe only while all is as expected: other replies may be shorter.
        while expected.startswith(received) and len(received) < len(expected):
            received += self._receive_bytes()
        is_expected = received.startswith(expected)
        self._received, self._at = received, len(expected) if is_expected else 0
        return is_expected

    def _end_of_line(self) -> int:
        """Behind the line at the position, or the rest of one whose first part was received before."""
        if self._received.startswith(b"\n", self._at):
            return self._at + 1
        found = self._received.find(b"\r\n", self._at)
        return len(self._received) if found < 0 else found + 2

    def _receive_bytes(self) -> bytes:
        try:
            received: bytes = self._socket.recv(RECEIVE_BYTES)
        # A ValueError is how the socket of TLS tells that another thread has closed it.
        except (OSError, ValueError) as error:
            raise redis.ConnectionError(f"the connection was lost: {error}") from error
        if not received:
            raise redis.ConnectionError("the server closed the connection")
        return received

    def _receive_into(self, buffer: NDArray[np.uint8]) -> int:
        try:
            # A memoryview: older sockets of TLS ask their buffer for its truth, which an array has not.
            received: int = self._socket.recv_into(buffer.data)
        except (OSError, ValueError) as error:
            raise redis.ConnectionError(f"the connection was lost: {error}") from error
        if not received:
            raise redis.ConnectionError("the server closed the connection")
        return received

    def close(self) -> None:
        """Close the connection to the server."""
        self._connection.disconnect()


def render(*words: bytes) -> bytes:
    """One command in the form in which Redis reads it."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%s\r\n" % (len(word), word) for word in words])


def render_for_keys(command: bytes, keys: Iterable[bytes], arguments: tuple[bytes, ...]) -> bytes:
    """The same command for many keys, each followed by the same arguments."""
    head = b"*%d\r\n$%d\r\n%s\r\n" % (2 + len(arguments), len(command), command)
    tail = b"\r\n" + b"".join([b"$%d\r\n%s\r\n" % (len(argument), argument) for argument in arguments])
    return b"".join([head + b"$%d\r\n%s%s" % (len(key), key, tail) for key in keys])


def rows_by_length(keys: Sequence[bytes]) -> dict[int, list[int]]:
    """The positions of the keys of each length: the order in which `render_hsets` takes them."""
    rows: dict[int, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(len(key), []).append(row)
    return rows


def render_hsets(keys: Sequence[bytes], field: bytes, values: FixedWidth) -> Iterator[memoryview]:
    """HSET of one field of each key, in blocks of the keys that have one length, in no particular order."""
    for length, rows in rows_by_length(keys).items():
        if not length:  # the empty key; SCAN may give it twice
            for row in rows:
                yield memoryview(render(b"HSET", b"", field, values[row]))
            continue
        head = b"*4\r\n$4\r\nHSET\r\n$%d\r\n" % length
        middle = b"\r\n$%d\r\n%s\r\n$%d\r\n" % (len(field), field, values.width)
        names = b"".join([keys[row] for row in rows])
        parts = (
            np.frombuffer(head, np.uint8),
            np.frombuffer(names, np.uint8).reshape(-1, length),
            np.frombuffer(middle, np.uint8),
            values.rows if len(rows) == len(keys) else values.rows[rows],
            np.frombuffer(b"\r\n", np.uint8),
        )
        block = np.empty((len(rows), sum(part.shape[-1] for part in parts)), np.uint8)
        start = 0
        for part in parts:
            block[:, start : start + part.shape[-1]] = part
            start += part.shape[-1]
        yield block.reshape(-1).data


def concerns_one_document(error: object) -> bool:
    """Whether an error reply is about the document whose command was refused, and not about all of them.

    A key of another type, a key that the user has no right to, a JSON text that is nested too deeply, and
    whatever else the server says of one value: that document is named, and the others go on. A server that
    loads, is a replica or out of memory, a right to a command that is missing, a command that is unknown,
    and kinds of error that nobody knows: these stop the run, which can be resumed.

    `EXECABORT` is about a batch: which of its commands was refused is told by the replies before it.

    Args:
        error: What the server answered in place of a reply, as hiredis or `raise_refusal` gives it, or the
            text of it as a script passes it on.
    """
    if isinstance(error, bytes):
        error = error.decode("utf-8", "replace")
    if isinstance(error, _ABOUT_THE_CONNECTION):
        return False
    text = str(error)
    kind = _KIND.match(text)
    if kind is not None and kind[1] not in _KINDS_OF_ONE_DOCUMENT:
        return False
    if _NO_RIGHT.search(text):
        return _NO_RIGHT_ON_KEY.search(text) is not None
    lowered = text.lower()
    return not any(words in lowered for words in _OF_THE_SERVER)


def first_refusal(replies: Iterable[object]) -> hiredis.ReplyError | None:
    """The first error among replies; None where there is none."""
    return next((reply for reply in replies if isinstance(reply, hiredis.ReplyError)), None)


def is_of_another_type(reply: object) -> bool:
    """Whether a key has become another type than the command is for: it is no document any more."""
    return isinstance(reply, Exception) and str(reply).startswith(("WRONGTYPE", "Existing key"))


def refusal(reply: object) -> str | None:
    """Why a document's command was refused, in words for the user; None where a reply is no error.

    Raises:
        redis.ResponseError: The error does not concern that document alone.
    """
    if not isinstance(reply, Exception):
        return None
    if not concerns_one_document(reply):
        raise_refusal(reply)
        raise reply
    text = _PLACE_IN_SCRIPT.sub("", str(reply)).strip().rstrip(".")
    if _NO_RIGHT.search(text):
        return NO_RIGHT
    return f"the server refused a command on it: {text.removeprefix('ERR ')}"


def raise_refusal(*replies: object) -> None:
    """Raise the first error among replies.

    Raises:
        redis.ResponseError: As redis-py would raise it.
    """
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            text = str(reply)
            if text.startswith("READONLY"):
                raise redis.exceptions.ReadOnlyError(text)
            raise redis.ResponseError(text)
