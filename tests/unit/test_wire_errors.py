"""Which error replies are about one document, and which stop a run."""

import hiredis
import pytest
import redis

from redismigrate.redis_server.wire import concerns_one_document

ONE_DOCUMENT = [
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "WRONGTYPE Operation against a key holding the wrong kind of value script: c00c, on @user_script:1.",
    "Existing key has wrong Redis type",
    "ERR recursion limit exceeded at line 1 column 128",
    "recursion limit exceeded at line 1 column 128 script: 21e0, on @user_script:1.",
    "ERR Couldn't parse as UTF-8 string",
    "unexpected end of hex escape at line 1 column 13",
    "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
    "ERR new objects must be created at the root",
    "NOPERM No permissions to access a key",
    "NOPERM User app has no permissions to access the 'product:9' key",
    "NOPERM this user has no permissions to access one of the keys used as arguments",
    "ERR ACL failure in script: No permissions to access a key script: 9679, on @user_script:1.",
    (
        "NOPERM The user executing the script can't access at least one of the keys mentioned in the command "
        "arguments"
    ),
    (
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. "
        "This command is no longer allowed for the following reason: "
        "no permission to touch the specified keys"
    ),
]
ALL_DOCUMENTS = [
    "LOADING Redis is loading the dataset in memory",
    "READONLY You can't write against a read only replica.",
    "CLUSTERDOWN Hash slot not served",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "NOAUTH Authentication required.",
    "MOVED 3999 127.0.0.1:6381",
    "BUSY Redis is busy running a script.",
    "NOREPLICAS Not enough good replicas to write.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "OOM command not allowed when used memory > 'maxmemory'. script: 9954, on @user_script:1.",
    "EXECABORT Transaction discarded because of previous errors.",
    "REDISMIGRATE_FENCED",
    "ERR unknown command 'JSON.SET', with args beginning with: 'a'",
    "ERR Unknown Redis command called from script script: 7ae0, on @user_script:1.",
    "ERR Error compiling script (new function): user_script:1: '<eof>' expected near 'y'",
    "ERR max number of clients reached",
    "ERR wrong number of arguments for 'hset' command",
    "NOPERM User monkey has no permissions to run the 'hset' command",
    "NOPERM this user has no permissions to run the 'hset' command or its subcommand",
    (
        "ERR ACL failure in script: User keys has no permissions to run the 'hset' command script: 9954, on "
        "@user_script:1."
    ),
    "NOPERM The user executing the script can't run this command or subcommand",
    (
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. "
        "This command is no longer allowed for the following reason: "
        "no permission to execute the command"
    ),
    "NOPERM User does not have the required permissions to query the index",
    "SOMETHING that no version known so far answers",
]


@pytest.mark.parametrize("text", ONE_DOCUMENT)
def test_an_error_about_one_document_is_told_from_others(text):
    assert concerns_one_document(hiredis.ReplyError(text))
    assert concerns_one_document(redis.ResponseError(text))
    assert concerns_one_document(text.encode())


@pytest.mark.parametrize("text", ALL_DOCUMENTS)
def test_an_error_about_the_server_or_the_run_is_of_no_document(text):
    assert not concerns_one_document(hiredis.ReplyError(text))
    assert not concerns_one_document(redis.ResponseError(text))
    assert not concerns_one_document(text.encode())


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError("gone"),
        redis.TimeoutError("too long"),
        redis.exceptions.ReadOnlyError("You can't write against a read only replica."),
        redis.exceptions.OutOfMemoryError("command not allowed"),
        redis.exceptions.ExecAbortError("Transaction discarded"),
    ],
)
def test_an_error_of_the_connection_is_of_no_document(error):
    assert not concerns_one_document(error)
