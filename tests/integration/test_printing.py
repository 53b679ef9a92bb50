"""What env.py and scripts print, however and whenever, never stands in a result that programs read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from vector_documents import creation

if TYPE_CHECKING:
    from conftest import Shop

PRINTS = """
import atexit, os, subprocess, sys, threading, time

print("NOISE at import")
print("NOISE by another name", file=sys.__stdout__)
os.write(1, b"NOISE raw\\n")
subprocess.run(["echo", "NOISE of a child"])
atexit.register(print, "NOISE at exit")


class Last:
    def __del__(self):
        print("NOISE at the very end")


last = Last()


def late():
    time.sleep(1)
    print("NOISE of a thread")


threading.Thread(target=late).start()


def include(kind, name):
    print("NOISE of a function")
    return True
"""
# `include` is not called by `plan`.
NOISES = 7


@pytest.fixture
def noisy(shop: Shop) -> Shop:
    """A project whose `env.py` prints."""
    shop.write(creation(), "op.drop_index('products')")
    (shop.folder / "migrations" / "env.py").write_text(PRINTS)
    return shop


def test_a_json_document_stands_alone_on_stdout(noisy: Shop):
    result = noisy.run_process("plan", "--json")
    assert json.loads(result.out)["project"] == "shop"
    assert result.err.count("NOISE") == NOISES


def test_a_file_for_redis_cli_stands_alone_on_stdout(noisy: Shop):
    noisy.write("print('NOISE of a script')", preamble="print('NOISE of its import')")
    result = noisy.run_process("upgrade", "--script")
    assert result.code == 0, result.err
    assert result.out.startswith('ECHO "# redismigrate')
    assert "NOISE" not in result.out
    assert "NOISE of its import" in result.err
