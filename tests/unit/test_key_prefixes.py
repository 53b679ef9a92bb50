"""Which keys the prefixes of an index cover, and that many of them cost little."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from redismigrate.documents.rewrite import Recoding, Rewrite
from redismigrate.planning.overlap import overlap_problems
from redismigrate.planning.rewrites import DoneRewrite
from redismigrate.schema import IndexSchema, VectorField
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.moves import PrefixChange
from redismigrate.schema.prefixes import KeyPrefixes

# As many as Redis Search takes.
MANY = 5_000
short = st.text("ab\udcff", max_size=4)
prefixes_of_an_index = st.lists(short, max_size=6)


def covers(prefixes, key):
    return not prefixes or any(key.startswith(prefix) for prefix in prefixes)


@given(prefixes=prefixes_of_an_index, key=short)
def test_a_key_is_covered_when_it_begins_with_any_prefix(prefixes, key):
    encoded = key.encode("utf-8", "surrogateescape")
    assert KeyPrefixes.of(prefixes).cover(encoded) == covers(prefixes, key)


@given(one=prefixes_of_an_index, other=prefixes_of_an_index)
def test_two_indexes_overlap_where_a_prefix_of_one_begins_with_one_of_the_other(one, other):
    expected = any(a.startswith(b) or b.startswith(a) for a in one or [""] for b in other or [""])
    assert KeyPrefixes.of(one).overlap(KeyPrefixes.of(other)) == expected


@given(prefixes=prefixes_of_an_index)
def test_only_outermost_prefixes_are_kept_and_no_prefix_stands_for_all_keys(prefixes):
    found = KeyPrefixes.of(prefixes)
    assert list(found.outermost) == sorted(found.outermost)
    assert not any(a != b and a.startswith(b) for a in found.outermost for b in found.outermost)
    assert found.cover_everything == (not prefixes or "" in prefixes)


def many(name, start):
    prefixes = tuple(f"{start}{number}:" for number in range(MANY))
    field = VectorField(name="embedding", algorithm="FLAT", dims=4, datatype="FLOAT32")
    return IndexSchema(name=name, prefixes=prefixes, fields=(field,))


def test_thousands_of_prefixes_are_compared_in_a_moment():
    own, other = many("products", "p"), many("other", "q")
    definition = IndexDefinition.plain(own)
    recodings = (Recoding("embedding", 4, "COSINE", "FLOAT32", "FLOAT16"),)
    rewrite = Rewrite("hash", recodings, prefixes=(PrefixChange("p", "r"),))
    done = DoneRewrite("other", other.prefixes, Rewrite("hash", recodings))
    started = time.process_time()

    assert overlap_problems(definition, definition, rewrite, {"other": other}, {}) == []
    assert done.remainder("products", own.prefixes, rewrite) == rewrite
    assert done.remainder("another", other.prefixes, Rewrite("hash", recodings)) == Rewrite("hash")

    assert time.process_time() - started < 5
