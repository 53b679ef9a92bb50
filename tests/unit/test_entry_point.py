"""The entry point around the command line."""

import signal

import pytest

from redismigrate.cli import main


@pytest.fixture(autouse=True)
def _own_sigterm():
    """The entry point sets a handler for the whole process."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def test_a_call_without_a_command_shows_the_help_and_no_error(capsys):
    with pytest.raises(SystemExit) as left:
        main([])
    assert left.value.code == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("Usage: redismigrate [OPTIONS] COMMAND [ARGS]...\n")
    assert printed.err == ""
