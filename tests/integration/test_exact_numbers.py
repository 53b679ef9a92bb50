"""Numbers of JSON documents keep every digit where the server reads another one than it has printed."""

from __future__ import annotations

import json
import math
import random
import struct

import pytest
from conftest import Shop
from vector_documents import CHANGE, applied

from redismigrate.documents.exact_numbers import EXACT_TEXT

pytestmark = pytest.mark.usefixtures("rebuilding")

SPELL = f"{EXACT_TEXT} return exact_text(ARGV[1])"


def numbers(seed: int, count: int) -> list[float]:
    """Any floats, small ones of 32 bits, and those of common sizes."""
    source = random.Random(seed)  # noqa: S311 - the same ones every time
    found: list[float] = []
    while len(found) < count:
        (any_float,) = struct.unpack("d", struct.pack("Q", source.getrandbits(64)))
        small = source.gauss(0, 1) * 10.0 ** source.randint(-12, 0)
        (of_32_bits,) = struct.unpack("f", struct.pack("f", small))
        found += [any_float, of_32_bits, source.uniform(-1, 1) * 10.0 ** source.randint(-20, 20)]
    return [value for value in found if math.isfinite(value)]


def test_the_server_does_not_read_every_number_as_it_prints_it(client):
    """When this fails, spellings are needed no more."""
    client.execute_command("JSON.SET", "a", "$", json.dumps(numbers(1, 3000)))
    printed = client.execute_command("JSON.GET", "a")

    client.execute_command("JSON.SET", "b", "$", printed)

    assert client.execute_command("JSON.GET", "b") != printed


def test_a_spelled_text_is_read_as_the_document_that_was_printed(client):
    unspellable = 0
    for seed in range(5):
        for number in numbers(seed, 300):
            document = {'a "1e-7': number, "b\\": '\\"1e-7', "c": [number, "", {"d": -number}]}
            client.execute_command("JSON.SET", "a", "$", json.dumps(document))
            printed = client.execute_command("JSON.GET", "a")
            spelled = client.execute_command("EVAL", SPELL, 0, printed)
            if spelled is None:
                unspellable += 1
                continue
            client.execute_command("JSON.SET", "b", "$", spelled)
            assert client.execute_command("JSON.GET", "b") == printed
    assert unspellable < 5  # of 1,500


def test_a_rename_and_its_undoing_change_no_digit(shop: Shop):
    values = numbers(7, 300)
    for at, value in enumerate(values):
        article = {"n": value, "w": [value, "1e-7"], "x": {"y": value}}
        shop.client.execute_command("JSON.SET", f"p:{at}", "$", json.dumps(article))
    schema = {
        "index": {"name": "products", "prefix": "p:", "storage_type": "json"},
        "fields": [{"name": "n", "type": "numeric"}],
    }
    shop.write(f"op.create_index({schema!r})", "op.drop_index('products')")
    applied(shop)
    before = [shop.client.execute_command("JSON.GET", f"p:{at}") for at in range(len(values))]
    shop.write(CHANGE + "index.rename_field('n', 'm')")

    done = shop.run("upgrade", "--exclusive", "--max-failures", "5", "--json")

    assert done.code == 0, done.err
    failed = {document["key"] for document in done.json["documents"]["failed"]}
    for at, text in enumerate(before):
        renamed = json.loads(shop.client.execute_command("JSON.GET", f"p:{at}"))
        if f"p:{at}" not in failed:
            assert json.dumps(renamed["m"]) == json.dumps(json.loads(text)["n"])
    assert shop.run("rollback", "--run", done.json["run"]).code == 0
    assert [shop.client.execute_command("JSON.GET", f"p:{at}") for at in range(len(values))] == before
