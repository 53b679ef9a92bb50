"""Plans made without a server: what it is like is written down, and scripts are functions of `op`."""

from __future__ import annotations

from dataclasses import replace

from redismigrate.documents.rewrite import Recoding, Rewrite
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.operations.script_calls import record
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.plan_in_progress import PlanOptions
from redismigrate.planning.planner import plan_revision
from redismigrate.redis_server.capabilities import Capabilities
from redismigrate.redis_server.inspection import LiveIndex
from redismigrate.schema import IndexSchema, TagField, VectorField
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.schema.read import IndexStatistics

REVISION = "8f3a1c9b2d4e"
SERVER = Capabilities(
    redis_version="7.4.1",
    search_version=(2, 10, 5),
    has_json=True,
    role="master",
    is_cluster=False,
    has_search_coordinator=False,
    maxmemory=0,
    maxmemory_policy="noeviction",
    used_memory=0,
    ignores_partial_updates=False,
)


def vector(datatype="FLOAT32", dims=4, name="embedding", **attributes):
    attributes = {"algorithm": "FLAT", "distance_metric": "COSINE", **attributes}
    return VectorField(name=name, dims=dims, datatype=datatype, **attributes)


def schema(name="products", *fields, prefixes=("p:",), **options):
    return IndexSchema(name=name, prefixes=prefixes, fields=fields or (TagField(name="color"),), **options)


def index(name="products", *fields, physical=None, aliases=(), synonyms=None, **options):
    """An index as it is recorded: under its own name, or behind an alias where a physical name is given."""
    return IndexDefinition(schema(name, *fields, **options), physical or name, aliases, synonyms or {})


def recoding(after="FLOAT16", before="FLOAT32", dims=4, path="embedding", metric="COSINE"):
    return Recoding(path, dims, metric, before, after)


def re_encoding(*args, **values):
    return Rewrite("hash", (recoding(*args, **values),))


def live(definition, documents=1_000, failures=0, **values):
    """What the server tells of an index that is as it is recorded."""
    statistics = IndexStatistics(
        num_docs=documents,
        max_doc_id=documents,
        is_indexing=False,
        percent_indexed=1.0,
        indexing_failures=failures,
        last_failure_key=None,
        last_failure_error=None,
        size_bytes=0,
    )
    told = {
        "physical": definition.physical,
        "schema": definition.schema.renamed(definition.physical),
        "statistics": statistics,
        "synonyms": definition.synonyms,
        "has_vector_details": True,
        "vector_labels": {},
    }
    return LiveIndex(**{**told, **values})


def server(*definitions, documents=1_000, foreign=(), capabilities=None, **values):
    """A server on which these indexes are as they are recorded.

    Args:
        definitions: Of this project.
        documents: That each of them has.
        foreign: Indexes that no revision created.
        capabilities: What else it can do than SERVER.
        values: Of the inventory.
    """
    every = (*definitions, *foreign)
    told = {
        "project": "shop",
        "capabilities": replace(SERVER, **(capabilities or {})),
        "live": {each.physical: live(each, documents) for each in every},
        "names": frozenset(each.physical for each in every),
        "aliases": {alias: each.physical for each in every for alias in each.all_aliases},
        "owners": {each.served: "shop" for each in definitions},
        "schemas": {each.physical: each.schema for each in every},
        "total_keys": documents * len(every),
        "fence": "7",
    }
    return Inventory(**{**told, **values})


def catalog(*definitions):
    return Catalog({each.served: each for each in definitions})


def recorded(script, *definitions, adopts=(), direction="upgrade", **values):
    """A revision whose function in one direction is `script`, recorded where these indexes are."""
    found = {each.served: each for each in adopts}
    op = record(script, catalog(*definitions), "script.py", found.get)
    return RecordedRevision(
        REVISION, direction, "a change", (), (), "", op.recorded, **{"adopted": dict(op.adopted), **values}
    )


def planned(script, *definitions, on=None, adopts=(), direction="upgrade", revision=None, **options):
    """The plan of a script.

    Args:
        script: A function of `op`.
        definitions: The indexes there are.
        on: The server; by default one on which they are as recorded.
        adopts: Indexes that no revision created.
        direction: Of the script.
        revision: What else is known of it.
        options: What the user says.
    """
    revision = recorded(script, *definitions, adopts=adopts, direction=direction, **(revision or {}))
    inventory = on if on is not None else server(*definitions, foreign=adopts)
    return plan_revision(revision, catalog(*definitions), inventory, PlanOptions(**options))


def kinds(plan):
    return [step.kind for step in plan.steps]


def reasons(plan):
    return [obstacle.text for obstacle in plan.obstacles]


def step_of(plan, kind, name=None):
    """The one step of a kind, of one index where it is named."""
    [step] = [step for step in plan.steps if step.kind == kind and name in {None, step.index}]
    return step
