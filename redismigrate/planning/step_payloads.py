"""What only some steps have: about documents, a function of a script, an index that is dropped, expectations.

They are stored flat, among the other values of their step, as all versions have them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from redismigrate.documents.rewrite import Rewrite
from redismigrate.operations.expectations import Expectation
from redismigrate.operations.recorded import Direction
from redismigrate.schema.quantization import Quantization


class DocumentsPayload(BaseModel):
    """What a step does to documents, or looks at where another one has done it.

    Attributes:
        rewrite: What becomes of the documents.
        backup: Where the backup is that the step restores documents from, `host:path`.
        restores_from: The backups from which originals come back that a conversion can't give.
        quantizations: Hash field -> how a rewrite will make integers of it, as far as a sample tells.
        second_fields: Hash field -> the temporary one with the new form of its vectors.
        takes_back: Of a removal: it takes back what was copied, rather than what it was copied from.
        is_all_indexed: Whether no document failed to be indexed before the run: what doesn't fit the index
            then has been written since.
        counts_on_none: Whether it is refused once the index has documents: it had none when it was planned.
    """

    model_config = ConfigDict(frozen=True)

    rewrite: Rewrite
    backup: str | None = None
    restores_from: tuple[str, ...] = ()
    quantizations: dict[str, Quantization] = {}
    second_fields: dict[str, str] = {}
    takes_back: bool = False
    is_all_indexed: bool = False
    counts_on_none: bool = False


class FunctionPayload(BaseModel):
    """A function that a script gave to `op.run`.

    Attributes:
        function: Which `op.run` of the script, by position.
        function_in: Which function of the script calls `op.run`.
        function_direction: Whether the function itself or what undoes it is run.
    """

    model_config = ConfigDict(frozen=True)

    function: int
    function_in: Direction
    function_direction: Literal["up", "down"]


class DropPayload(BaseModel):
    """How an index is dropped.

    Attributes:
        second_fields: Hash field -> the temporary one that the index reads in its place, if it does.
        comes_back_as: Of an index whose own name becomes an alias: its name once that is undone.
        delete_documents: Whether dropping takes the documents along.
    """

    model_config = ConfigDict(frozen=True)

    second_fields: dict[str, str] = {}
    comes_back_as: str | None = None
    delete_documents: bool = False


class ExpectationsPayload(BaseModel):
    """What a step looks for in an index.

    Attributes:
        expectations: What it is to answer.
    """

    model_config = ConfigDict(frozen=True)

    expectations: tuple[Expectation, ...] = ()


# Name of a payload in a step -> its type.
PAYLOADS: Mapping[str, type[BaseModel]] = {
    "documents": DocumentsPayload,
    "call": FunctionPayload,
    "drop": DropPayload,
    "checks": ExpectationsPayload,
}
# As a step is stored that has none of them, in the order in which its values stand behind each other.
_STORED: Mapping[str, Any] = {
    "kind": None,
    "index": None,
    "strategy": None,
    "description": "",
    "before": None,
    "after": None,
    "alias": None,
    "rewrite": None,
    "backup": None,
    "restores_from": (),
    "quantizations": {},
    "second_fields": {},
    "comes_back_as": None,
    "takes_back": False,
    "after_record": False,
    "is_all_indexed": False,
    "counts_on_none": False,
    "delete_documents": False,
    "function": None,
    "function_in": None,
    "function_direction": None,
    "estimate": None,
    "rollback": "",
}


def flat(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a step as it is stored.

    Args:
        content: Its values, those of its payloads as mappings or None.
    """
    values = {**_STORED, "quantizations": {}, "second_fields": {}, **content}
    for name in PAYLOADS:
        values.update(values.pop(name, None) or {})
    return values


def nested(content: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a step with those of payloads in these.

    Args:
        content: As stored; what has the default may be left out, and payloads may be given.
    """
    values = dict(content)
    if values.get("kind") == "drop_index":
        _gather(values, "drop")
    if values.get("rewrite") is not None:
        _gather(values, "documents")
    if values.get("function") is not None:
        _gather(values, "call")
    if values.get("expectations") is not None:
        _gather(values, "checks")
    return values


def _gather(values: dict[str, Any], name: str) -> None:
    """Put values into a payload, unless it is given."""
    if values.get(name) is None:
        values[name] = {field: values[field] for field in PAYLOADS[name].model_fields if field in values}
