"""Which values stand twice in a document while it is changed, and how such a change is stored."""

from __future__ import annotations

from pydantic import TypeAdapter

from redismigrate.documents.rewrite import Recoding, Rewrite
from redismigrate.documents.twins import Twin, twins_of
from redismigrate.schema.moves import PathRename

HALVED = Recoding("embedding", 4, "L2", "FLOAT32", "FLOAT16")
MOVED = Recoding("embedding", 4, "L2", "FLOAT32", "FLOAT16", new_path="embedding_f16")


def test_what_is_renamed_stands_twice_until_the_change_is_over() -> None:
    rewrite = Rewrite("hash", (HALVED,), (PathRename("embedding", "vector"), PathRename("title", "name")))

    assert twins_of(rewrite) == (Twin("embedding", "vector", HALVED), Twin("title", "name"))


def test_vectors_whose_new_form_goes_to_another_path_stay_where_they_were() -> None:
    rewrite = Rewrite("hash", (MOVED,))

    assert twins_of(rewrite) == (Twin("embedding", "embedding_f16", MOVED, keeps_old=True),)


def test_what_is_re_encoded_at_its_path_has_no_twin() -> None:
    assert twins_of(Rewrite("hash", (HALVED,))) == ()


def test_another_path_is_stored_where_there_is_one_only() -> None:
    stored = TypeAdapter(Recoding)

    assert "new_path" not in stored.dump_python(HALVED)
    assert stored.validate_python(stored.dump_python(MOVED)) == MOVED
