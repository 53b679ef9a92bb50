"""Turns a stamp into a file for `redis-cli` that records the same: `stamp --script`. Pure."""

from __future__ import annotations

import json

from redismigrate.execution.offline.redis_cli import command_line, remark_line
from redismigrate.execution.offline.transcript import LOADING_LINE, Start, call_line, length_first
from redismigrate.schema.create import create_arguments
from redismigrate.schema.definition import Catalog
from redismigrate.state.keys import StateKeys
from redismigrate.state.offline_script import behind_version, digest_of_ids
from redismigrate.state.stored_documents import Head, catalog_content


def stamp_lines(
    start: Start, head: Head, catalog: Catalog, keys: StateKeys, by: str, *, is_compared: bool
) -> tuple[str, ...]:
    """The lines of a file for `redis-cli` that records revisions and indexes, or changes nothing.

    Args:
        start: The record that it is made for.
        head: The applied revisions as they are to be recorded. The server keeps the records that it has.
        catalog: The indexes as they are to be recorded.
        keys: The project's keys.
        by: Who makes it.
        is_compared: Whether the live indexes were compared with these; else the reader is told to.
    """
    heads = ", ".join(head.heads) or "base"
    released = sorted(start.catalog.keys() - catalog.keys())
    names = [
        word
        for definition in catalog.values()
        for name in (definition.physical, *definition.all_aliases)
        for word in (name, definition.physical)
    ]
    event = {"event": "stamp", "revision": " ".join(head.heads), "by": by}
    words: list[bytes | str] = [
        "stamp",
        heads,
        digest_of_ids(start.head.applied),
        json.dumps(list(start.head.heads)),
        start.indexes_digest,
        json.dumps(list(head.heads)),
        "",
        behind_version(catalog_content(catalog)),
        json.dumps(keys.project),
        *length_first([json.dumps(name) for name in catalog]),
        *length_first([json.dumps(name) for name in released]),
        *length_first(names),
        *length_first([word for pair in event.items() for word in pair]),
        "0",  # no steps
        *length_first(
            [word for id_, record in head.revisions.items() for word in (id_, json.dumps(record.to_json()))]
        ),
    ]
    added = [
        f"record {id_} {head.revisions[id_].message}"
        for id_ in head.revisions
        if id_ not in start.head.applied
    ]
    taken = [f"take back the record of {id_}" for id_ in sorted(start.head.applied - head.applied)]
    remarks = [f"  {text}" for text in (*taken, *added)]
    for definition in catalog.values():
        wanted = command_line(create_arguments(definition.schema, name=definition.physical))
        said = "compared when this was made" if is_compared else "left to you: compare with FT.INFO"
        remarks.append(f"  index {definition.served} has to be there already ({said})")
        remarks.append(f"    {wanted}")
        remarks += [f"    as its alias {alias}" for alias in definition.all_aliases]
    return (LOADING_LINE, *map(remark_line, remarks), call_line(keys, words, start.undoable))
