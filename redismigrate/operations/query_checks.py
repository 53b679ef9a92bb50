"""Files of queries that an index has to answer, as those of RedisVL's `--query-check-file` (0.28)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from redismigrate.errors import SchemaError, UsageError
from redismigrate.foreign_modules import shown_value
from redismigrate.operations.changes import prefixes_changed
from redismigrate.operations.expectations import Amount, Expectation
from redismigrate.operations.given_expectations import as_expectation
from redismigrate.operations.operation_types import ChangeIndex, Expect
from redismigrate.operations.recorded import RecordedRevision, names_after, names_mentioned
from redismigrate.schema.definition import Catalog
from redismigrate.schema.redisvl import as_mapping, located, refuse_unknown
from redismigrate.schema.strict import Text
from redismigrate.schema.yaml_file import read_yaml

_SECTIONS = ("index", "fetch_ids", "keys_exist", "search")
_SEARCH = ("count", "query", "finds", "finds_keys", "knn", "overlap")
_MOST_CHECKS = 10_000


@dataclass(frozen=True)
class QueryChecks:
    """What one index has to answer, by a file.

    Attributes:
        file: Where it stands.
        index: Its served name; None where the file does not say.
        expectations: What it is to answer.
    """

    file: str
    index: Text | None
    expectations: tuple[Expectation, ...]


def read_query_checks(path: Path) -> tuple[QueryChecks, ...]:
    """The checks in a YAML or JSON file: one mapping, or a list of them with an index each.

    Args:
        path: The file. A mapping has `fetch_ids`, ids of documents; `keys_exist`, keys; `search`, queries:
            words of FT.SEARCH, which have to find something, or mappings with the arguments of `op.expect`;
            and `index`, a served name.

    Raises:
        SchemaError: The file can't be read, is no YAML, or says something else.
    """
    content = read_yaml(path)
    with located(str(path)):
        each = content if isinstance(content, list) and content else [content or {}]
        return tuple(_checks(str(path), item) for item in each)


def with_query_checks(
    recorded: tuple[RecordedRevision, ...], catalog: Catalog, files: Iterable[Path]
) -> tuple[RecordedRevision, ...]:
    """Revisions of which the last one that is about an index also expects what files say of it.

    Args:
        recorded: The revisions and folds of them, in order; where there is none, no file is read.
        catalog: The indexes before them.
        files: See `read_query_checks`.

    Raises:
        UsageError: A file names no index, and the revisions are about none or several; or one that they leave
            is not called so.
        SchemaError: A file can't be read, or the index can't be asked what it says.
    """
    if not recorded:
        return recorded
    checks = [check for file in files for check in read_query_checks(file)]
    after = catalog
    for item in recorded:
        after = item.apply(after)
    for check in checks:
        name = check.index or _only_index(recorded, after, check)
        if name not in after:
            raise UsageError(
                f"{check.file} is about index {name}, which there is not once all is applied.",
                f"Indexes: {', '.join(sorted(after)) or 'none'}.",
            )
        with located(check.file):
            for expectation in check.expectations:
                expectation.require_fits(after[name].schema)
                _require_stays(expectation, recorded)
        recorded = _with_expected(recorded, name, check.expectations)
    return recorded


def _require_stays(expectation: Expectation, recorded: Iterable[RecordedRevision]) -> None:
    """Refuse a key that a revision takes away: it is there until all is done.

    Raises:
        SchemaError: Documents move from it to another key.
    """
    moves = [
        move
        for item in recorded
        for operation in item.operations
        if isinstance(operation, ChangeIndex)
        for change in operation.changes
        for move in prefixes_changed(change)
    ]
    key = expectation.key or ""
    for old, new in moves:
        if key.startswith(old) and not key.startswith(new):
            moved = new + key.removeprefix(old)
            raise SchemaError(f"keys_exist has {key}, which becomes {moved} by this.", f"Write {moved}.")


def _only_index(recorded: tuple[RecordedRevision, ...], after: Catalog, check: QueryChecks) -> str:
    """The index that all revisions are about, by its name after them."""
    names: dict[str, None] = {}
    for item in recorded:
        changed = {first: now for first, now in names_after(item.operations, names).items() if first != now}
        names = dict.fromkeys(changed.get(name, name) for name in names)
        mentioned = names_mentioned(item.operations)
        names.update(dict.fromkeys(names_after(item.operations, mentioned).values()))
    found = [name for name in names if name in after]
    if len(found) != 1:
        told = f"the revisions are about {', '.join(sorted(found)) or 'no index'}"
        raise UsageError(
            f"{check.file} does not say which index it is about, and {told}.", "Write `index: NAME` into it."
        )
    return found[0]


def _with_expected(
    recorded: tuple[RecordedRevision, ...], name: str, expectations: tuple[Expectation, ...]
) -> tuple[RecordedRevision, ...]:
    """The revisions, of which one has further operations at its end."""
    last, called = len(recorded) - 1, name
    for at in reversed(range(len(recorded))):
        mentioned = {*names_mentioned(recorded[at].operations)}
        renamed = [
            item
            for item in recorded[at].operations
            if isinstance(item, ChangeIndex) and item.name_after == called
        ]
        if renamed or called in mentioned:
            last = at
            break
    further = tuple(Expect(called, expectation) for expectation in expectations)
    return (*recorded[:last], _at_the_end(recorded[last], further), *recorded[last + 1 :])


def _at_the_end(item: RecordedRevision, further: tuple[Expect, ...]) -> RecordedRevision:
    """A revision with further operations; of a fold, which is made again of its members, the last as well."""
    folded = item.folded
    if folded:
        folded = (*folded[:-1], _at_the_end(folded[-1], further))
    return replace(item, operations=(*item.operations, *further), folded=folded)


def _checks(file: str, content: Any) -> QueryChecks:
    given = as_mapping(content, "the file")
    refuse_unknown(given, _SECTIONS, "a query check")
    index = given.get("index")
    if index is not None and (not isinstance(index, str) or not index):
        raise SchemaError(f"index is {shown_value(index)}.", "Write the name that clients query.")
    expectations = (
        *(Expectation(id=each, source="query_check") for each in _names(given, "fetch_ids")),
        *(Expectation(key=each, source="query_check") for each in _names(given, "keys_exist")),
        *_searches(given),
    )
    if not expectations:
        raise SchemaError("There is nothing to check.", f"Write {', '.join(_SECTIONS[1:-1])} or search.")
    return QueryChecks(file, index, expectations)


def _items(given: Mapping[str, Any], section: str) -> list[Any]:
    items = given.get(section)
    if items is None:
        return []
    if not isinstance(items, list):
        raise SchemaError(f"{section} is no list: {shown_value(items)}.", "Write each on a line after `- `.")
    if len(items) > _MOST_CHECKS:
        raise SchemaError(f"{section} has more than {_MOST_CHECKS:,} checks.", "Take a sample.")
    return items


def _names(given: Mapping[str, Any], section: str) -> Iterator[str]:
    for item in _items(given, section):
        # RedisVL makes text of what it finds: ids are often numbers.
        if isinstance(item, bool) or not isinstance(item, str | int) or item == "":
            raise SchemaError(f"{section} has {shown_value(item)}.", "Write it as text, in quotes.")
        yield str(item)


def _searches(given: Mapping[str, Any]) -> Iterator[Expectation]:
    for item in _items(given, "search"):
        if isinstance(item, str):
            something = as_expectation(query=item, finds=1, source="query_check")
            yield replace(something, finds=Amount(1, "at_least"))
            continue
        refuse_unknown(as_mapping(item, "a search"), _SEARCH, "a search")
        yield as_expectation(**item, source="query_check")
