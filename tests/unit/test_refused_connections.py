"""What is refused while a connection is made, and what redis-py makes of refusals, without secrets."""

from __future__ import annotations

import contextlib

import pytest
import redis
from redis._parsers import BaseParser

from redismigrate.errors import ClusterUnsupported, ConfigurationError, ServerError, ServerOutOfMemory
from redismigrate.redis_server.connection import connect, translate
from redismigrate.redis_server.guarded_connection import with_guarded_connect

URL = "redis://localhost:6379/0"


class Echoing:
    """A connection to a server that knows no HELLO, and quotes what it was told."""

    def connect(self) -> None:
        raise redis.ResponseError(
            "unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' 's3cret'"
        )


def test_a_server_that_quotes_a_password_does_not_bring_it_into_the_error():
    connection = with_guarded_connect(Echoing, lambda error: translate(error, URL))()
    with pytest.raises(ConfigurationError, match="unknown command 'HELLO'") as caught:
        connection.connect()
    shown = f"{caught.value.message} {caught.value.hint} {caught.value.__cause__}"
    assert "s3cret" not in shown


@pytest.mark.parametrize("parsed", [BaseParser.parse_error, redis.ResponseError])
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("CLUSTERDOWN The cluster is down", ServerError),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", ServerError),
        ("TRYAGAIN Multiple keys request during rehashing of slot", ServerError),
        ("CROSSSLOT Keys in request don't hash to the same slot", ClusterUnsupported),
        ("EXECABORT Transaction discarded because of: OOM command not allowed", ServerOutOfMemory),
    ],
)
def test_a_refusal_is_told_whatever_redis_py_makes_of_its_first_word(parsed, reply, kind):
    assert isinstance(translate(parsed(reply), URL), kind)


@pytest.mark.parametrize("option", ["utf-16", "1", "ValueError"])
def test_errors_to_be_retried_that_are_none_are_refused_before_the_first_error(option):
    with pytest.raises(ConfigurationError, match="retry_on_error has something that is no class of errors"):
        connect(f"{URL}?retry_on_error={option}")


class Others(redis.Connection):
    """A class of somebody who does something of their own whenever it is called."""

    def connect(self) -> None:
        raise LookupError("no credentials")


def test_what_others_do_before_each_command_is_guarded_and_redis_py_itself_only_while_it_connects(
    monkeypatch,
):
    monkeypatch.setattr(redis.Connection, "connect", Others.connect)
    for kind, is_guarded in ((redis.Connection, False), (Others, True)):
        connection = with_guarded_connect(kind, lambda error: translate(error, URL))()
        with pytest.raises(ConfigurationError, match="no credentials"):
            connection.connect()
        monkeypatch.setattr(connection, "_sock", object(), raising=False)
        with pytest.raises(ConfigurationError, match="no cred") if is_guarded else contextlib.nullcontext():
            connection.connect()
        connection._sock = None
