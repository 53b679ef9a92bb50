"""`wizard` on a terminal of 80 columns: what it asks and shows; who leaves it leaves nothing behind."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest
from conftest import ENTRY_POINT
from fuzzing import files_below

COLUMNS = 80
LIMIT_SECONDS = 60
CREATE = """op.create_index({
    "index": {"name": "products", "prefix": "product"},
    "fields": [
        {"name": "title", "type": "text"},
        {"name": "embedding", "type": "vector", "attrs": {"algorithm": "hnsw", "dims": 2}},
    ],
})"""


def _on_a_terminal():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever runs the tests in the background ignores it


class Terminal:
    """A process on a terminal."""

    def __init__(self, folder, *arguments):
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
        self._process = subprocess.Popen(
            [ENTRY_POINT, *arguments],
            cwd=folder,
            env={**environment, "TERM": "dumb"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_on_a_terminal,  # noqa: PLW1509 - no threads here
        )
        os.close(theirs)
        self.shown = ""

    def reads(self, text, meanwhile=lambda: None):
        """Wait for a text, and give what was shown up to it; each second that nothing comes do something."""
        start = len(self.shown)
        deadline = time.monotonic() + LIMIT_SECONDS
        while text not in self.shown[start:]:
            assert time.monotonic() < deadline, f"{text!r} is not in {self.shown[start:]!r}"
            if not select.select([self._ours], [], [], 1)[0]:
                meanwhile()
            else:
                try:
                    data = os.read(self._ours, 65_536)
                except OSError:  # the other end is closed
                    data = b""
                assert data, f"{text!r} is not in {self.shown[start:]!r}"
                self.shown += data.decode().replace("\r\n", "\n")
        return self.shown[start:]

    def types(self, *answers):
        for answer in answers:
            os.write(self._ours, answer.encode())

    def ends(self, text, meanwhile=lambda: None):
        self.reads(text, meanwhile)
        code = self._process.wait(LIMIT_SECONDS)
        os.close(self._ours)
        return code


@pytest.fixture
def products(shop):
    shop.write(CREATE, 'op.drop_index("products")')
    assert shop.run("upgrade").code == 0
    return shop


def test_a_change_is_asked_for_refused_shown_and_written(products):
    terminal = Terminal(products.folder, "wizard", "--patch-out", "patch.yaml")
    assert "1  products  2 fields" in terminal.reads("Index to change: ")
    terminal.types("1\n")
    assert "embedding  vector   algorithm=HNSW, dims=2" in terminal.reads("Action: ")
    terminal.types("2\n")
    terminal.reads("Field [empty: back to the menu]: ")
    terminal.types("embedding\n")
    assert "datatype         FLOAT32" in terminal.reads("What of vector field embedding [empty: done]: ")
    terminal.types("dims\n")
    terminal.reads("dims [2]: ")
    terminal.types("3\n")
    refused = terminal.reads("dims [2]: ")
    assert "No: field embedding of index products changes from 2 to 3 dimensions" in refused
    terminal.types("\n")
    terminal.reads("[empty: done]: ")
    terminal.types("datatype\n")
    terminal.reads("datatype [FLOAT32]: ")
    terminal.types("2\n")
    assert "Note: queries on products must send FLOAT16 vectors afterwards" in terminal.reads("done]: ")
    terminal.types("\n")
    assert "+ alter field embedding: datatype=FLOAT16" in terminal.reads("Action: ")
    terminal.types("7\n")
    terminal.reads("As [script]: ")
    terminal.types("4\n")
    assert "Upgrade to heads: 1 revision, project shop" in terminal.reads("Action: ")
    terminal.types("finish\n")
    terminal.reads("]: ")
    terminal.types("half precision\n")
    assert terminal.ends("Wrote patch.yaml") == 0
    assert (
        "_half_precision.py\n  change index products: alter field embedding: datatype=FLOAT16\n"
        in terminal.shown
    )
    asked, _, _ = terminal.shown.partition("What the revision is for")
    assert [line for line in asked.splitlines() if len(line) > COLUMNS] == []


@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_whoever_leaves_leaves_nothing_written(products, key):
    before = files_below(products.folder)
    terminal = Terminal(products.folder, "wizard", "products", "--patch-out", "patch.yaml")
    terminal.reads("Action: ")
    terminal.types("remove\n")
    terminal.reads("Field to remove [empty: back to the menu]: ")
    terminal.types("title\n")
    terminal.reads("Action: ")
    terminal.types("finish\n")
    terminal.reads("]: ")
    terminal.types(key)
    # Python misses a Ctrl-C that comes right before it begins to wait for a line: people press it again.
    code = terminal.ends(
        "Error: The wizard was left before `finish`: nothing was written.", lambda: terminal.types(key)
    )
    assert code == 1
    assert files_below(products.folder) == before
