"""Columns of one field over a raw connection, from a peer that sends its replies in whatever pieces."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import hiredis
import pytest
import redis

from redismigrate.documents.columns import FixedWidth
from redismigrate.redis_server.wire import MOST_BLOCK_BYTES, Wire


@contextmanager
def sending(pieces: Sequence[bytes]) -> Iterator[Wire]:
    """A connection to a peer that sends these pieces when it is asked for the first one, then closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peer.recv(1)
                for piece in pieces:
                    peer.sendall(piece)
                    if len(pieces) > 1:
                        is_over.wait(0.002)

        is_over = threading.Event()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        # No handshake, which this peer would have to answer.
        client = redis.Redis(
            port=listener.getsockname()[1], socket_timeout=20, redis_connect_func=lambda _: None
        )
        try:
            with closing(Wire(client)) as wire:
                wire.send(b"?")
                yield wire
        finally:
            is_over.set()
            thread.join()


def array(value: bytes | None) -> bytes:
    return b"*1\r\n$-1\r\n" if value is None else b"*1\r\n$%d\r\n%s\r\n" % (len(value), value)


SAME = b"".join(map(array, (b"ab\r\n", b"\r\n*1", b"efgh")))
ODD = b"".join(
    [array(b"ab\r\n"), array(b"\n+OK"), array(None), b"-WRONGTYPE no\r\n", array(b""), array(b"x")]
)


def received(wire: Wire) -> list[object]:
    column = wire.receive_column(6)
    return [str(reply) if isinstance(reply, hiredis.ReplyError) else reply for reply in column]


ODD_REPLIES = [[b"ab\r\n"], [b"\n+OK"], [None], "WRONGTYPE no", [b""], [b"x"]]


def test_values_of_one_length_are_one_array():
    with sending([SAME]) as wire:
        column = wire.receive_column(3)
    assert isinstance(column, FixedWidth)
    assert column == [b"ab\r\n", b"\r\n*1", b"efgh"]


def test_other_replies_come_one_by_one():
    with sending([ODD]) as wire:
        assert received(wire) == ODD_REPLIES


@pytest.mark.parametrize("cut", range(1, 24))
def test_it_does_not_matter_where_the_stream_is_cut(cut: int):
    stream = b"+OK\r\n$2\r\n\r\n\r\n" + SAME + ODD + SAME + b":7\r\n"
    with sending(
        [stream[:cut], *(stream[start : start + 23] for start in range(cut, len(stream), 23))]
    ) as wire:
        assert wire.receive(2, precedes_column=True) == [b"OK", b"\r\n"]
        assert wire.receive_column(3) == [b"ab\r\n", b"\r\n*1", b"efgh"]
        assert received(wire) == ODD_REPLIES
        column = wire.receive_column(3)
        assert isinstance(column, FixedWidth)
        assert column == [b"ab\r\n", b"\r\n*1", b"efgh"]
        assert wire.receive(1) == [7]


def test_a_stream_of_single_bytes_is_understood():
    stream = ODD + SAME
    with sending([stream[at : at + 1] for at in range(len(stream))]) as wire:
        assert received(wire) == ODD_REPLIES
        assert wire.receive_column(3) == [b"ab\r\n", b"\r\n*1", b"efgh"]


def test_shorter_replies_after_a_long_one_are_not_waited_for():
    with sending([array(b"v" * 5000) + array(None) * 5]) as wire:
        assert received(wire) == [[b"v" * 5000], *[[None]] * 5]


def test_values_that_would_need_a_huge_block_come_one_by_one():
    long = b"v" * (MOST_BLOCK_BYTES // 2)
    with sending([array(long) + array(b"w") * 5]) as wire:
        assert received(wire) == [[long], *[[b"w"]] * 5]


def test_a_peer_that_closes_in_the_middle_is_noticed():
    with sending([SAME[:-5]]) as wire, pytest.raises(redis.ConnectionError, match="closed the connection"):
        wire.receive_column(3)


EXPECTED = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:0\r\n:0\r\n"
OTHERS = [
    pytest.param(b"+OK\r\n+QUEUED\r\n-ERR no\r\n-EXECABORT x\r\n", 4, id="a refusal"),
    pytest.param(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*-1\r\n", 4, id="nothing was written"),
    pytest.param(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:0\r\n:1\r\n", 4, id="another result"),
]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_replies_that_are_as_expected_are_used_up_whatever_pieces_they_come_in(size: int):
    stream = EXPECTED + b":7\r\n"
    with sending([stream[at : at + size] for at in range(0, len(stream), size)]) as wire:
        assert wire.receive_exactly(EXPECTED)
        assert wire.receive(1) == [7]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(("stream", "replies"), OTHERS)
def test_other_replies_are_left_to_be_received_and_are_not_waited_for_in_vain(
    stream: bytes, replies: int, size: int
):
    with sending([stream[at : at + size] for at in range(0, len(stream), size)]) as wire:
        assert not wire.receive_exactly(EXPECTED)
        parser = hiredis.Reader()
        parser.feed(stream)
        assert list(map(repr, wire.receive(replies))) == [repr(parser.gets()) for _ in range(replies)]


def test_a_connection_that_is_lost_before_the_expected_replies_are_there_is_an_error():
    with sending([EXPECTED[:-3]]) as wire, pytest.raises(redis.ConnectionError):
        wire.receive_exactly(EXPECTED)
