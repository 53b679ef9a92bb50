"""Texts of arrays are printed by the server as they were made, and read as they were printed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from test_exact_numbers import numbers

from redismigrate.documents.array_texts import as_written
from redismigrate.documents.json_numbers import printed as printed_number
from redismigrate.documents.resized_arrays import texts_of


def printed(client: Any, text: bytes) -> bytes:
    client.execute_command("JSON.SET", "a", "$", b'{"v":' + text + b"}")
    found = client.execute_command("JSON.GET", "a", "$.v")
    return bytes(found[1:-1])


def test_vectors_are_printed_in_the_words_in_which_they_are_made(client):
    source = np.random.default_rng(4)
    for scale in (1.0, 1e-3, 1e-5, 1e-8, 1e12):
        vectors = source.normal(size=(20, 64)) * scale
        vectors[0, :3] = (0.0, 1.0, -1.0)
        for is_double in (False, True):
            for text in texts_of(vectors, is_double=is_double):
                assert printed(client, as_written(text) or b"") == text


def test_any_number_is_spelled_as_the_server_prints_it_and_read_as_it_was(client):
    for seed in range(3):
        text = ("[" + ",".join(map(printed_number, numbers(seed, 600))) + "]").encode()
        # Not each is read as it is: what is in a document has been read, and is printed so.
        text = printed(client, text)
        values = json.loads(text)
        assert ("[" + ",".join(map(printed_number, values)) + "]").encode() == text
        written = as_written(text)
        assert written is not None
        assert printed(client, written) == text
        assert json.loads(printed(client, written)) == values
