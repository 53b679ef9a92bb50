"""RedisVL as the client: indexes that it made are baselined, migrated and queried with unchanged code.

RedisVL is no dependency. `.ci/run` makes an environment for it and runs these tests there.
"""

from __future__ import annotations

import copy
import os
import subprocess
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from redisvl_application import PYTHON, Application, ApplicationError, needs_redisvl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Shop

pytestmark = needs_redisvl

DOCUMENTS = 60
BEGINNING = """
import asyncio
import numpy as np
import redis
from redisvl.index import AsyncSearchIndex, SearchIndex
from redisvl.query import (
    AggregateHybridQuery, CountQuery, FilterQuery, TextQuery, VectorQuery, VectorRangeQuery
)
from redisvl.query.filter import Num, Tag
from redisvl.schema import IndexSchema

client = redis.Redis.from_url(url)
vectors = np.random.default_rng(7).normal(size=(documents, 8)).astype(np.float32)

def made(schema):
    return SearchIndex.from_dict(schema, redis_client=client)

def fill(index):
    index.create()
    as_list = index.schema.index.storage_type.value == "json"
    index.load(
        [
            {
                "id": str(n), "title": f"red product {n}", "brand": ["acme", "globex"][n % 2], "price": n,
                "embedding": vector.tolist() if as_list else vector.tobytes(),
            }
            for n, vector in enumerate(vectors)
        ],
        id_field="id",
    )
    return index

def titles(found):
    return [each["title"] for each in found]

def nearest(index, dtype="float32"):
    query = VectorQuery(vectors[17], "embedding", return_fields=["title"], num_results=3, dtype=dtype)
    return titles(index.query(query))

async def nearest_from_elsewhere(name, dtype):
    index = await AsyncSearchIndex.from_existing(name, redis_url=url)
    query = VectorQuery(vectors[17], "embedding", return_fields=["title"], num_results=3, dtype=dtype)
    found = titles(await index.query(query))
    await index.disconnect()
    return found

def answers(index, dtype):
    acme = Tag("brand") == "acme"
    some = {"return_fields": ["title"], "dtype": dtype}
    cheap = FilterQuery(acme & (Num("price") < 10), return_fields=["title"])
    words = TextQuery("17", "title", return_fields=["title"], stopwords=None)
    bytes_ = vectors[17].astype(dtype).tobytes()
    pages = index.paginate(FilterQuery(acme, return_fields=["title"]), page_size=7)
    both = AggregateHybridQuery(
        "17", "title", bytes_, "embedding", num_results=3, stopwords=None, **some
    )
    return {
        "vector": nearest(index, dtype),
        "filtered": titles(
            index.query(VectorQuery(vectors[17], "embedding", num_results=3, filter_expression=acme, **some))
        ),
        "range": titles(
            index.query(VectorRangeQuery(vectors[17], "embedding", distance_threshold=0.4, **some))
        ),
        "filter": sorted(titles(index.query(cheap))),
        "count": index.query(CountQuery(acme)),
        "text": titles(index.query(words)),
        "hybrid": titles(index.query(both)),
        "batch": [
            titles(found) for found in index.batch_query(
                [VectorQuery(vectors[n], "embedding", num_results=1, **some) for n in (3, 4)]
            )
        ],
        "pages": sum(len(page) for page in pages),
        "document": index.fetch("17")["title"],
        "documents": int(index.info()["num_docs"]),
        "elsewhere": titles(
            SearchIndex.from_existing(index.name, redis_client=client).query(
                VectorQuery(vectors[17], "embedding", num_results=3, **some)
            )
        ),
        "asynchronous": asyncio.run(nearest_from_elsewhere(index.name, dtype)),
    }
"""


@pytest.fixture
def application(shop: Shop) -> Iterator[Application]:
    """What uses the indexes of the shop."""
    with Application(PYTHON) as started:
        started.run(BEGINNING, url=shop.url, documents=DOCUMENTS)
        yield started


def schema(
    storage: str = "hash", algorithm: str = "flat", prefix: str | list[str] = "product", separator: str = ":"
) -> dict[str, Any]:
    return {
        "index": {
            "name": "products",
            "prefix": prefix,
            "key_separator": separator,
            "storage_type": storage,
        },
        "fields": [
            {"name": "title", "type": "text"},
            {"name": "brand", "type": "tag"},
            {"name": "price", "type": "numeric"},
            {
                "name": "embedding",
                "type": "vector",
                "attrs": {
                    "algorithm": algorithm,
                    "dims": 8,
                    "distance_metric": "cosine",
                    "datatype": "float32",
                },
            },
        ],
    }


def declare(shop: Shop, application: Application, layout: dict[str, Any]) -> None:
    """Declare a schema by the file that RedisVL makes of it."""
    configuration = shop.folder / "redismigrate.toml"
    if "schemas" not in configuration.read_text():
        configuration.write_text(configuration.read_text() + 'schemas = ["schema.yaml"]\n')
    write = "IndexSchema.from_dict(layout).to_yaml(file, overwrite=True)"
    application.run(write, layout=layout, file=str(shop.folder / "schema.yaml"))


def succeed(shop: Shop, *arguments: str) -> str:
    result = shop.run(*arguments)
    assert result.code == 0, result.out + result.err
    return result.out


def begin(shop: Shop, application: Application, layout: dict[str, Any], adopt: str = "alias") -> None:
    """RedisVL makes and fills the index, which is declared, baselined and recorded."""
    application.run("index = fill(made(layout))", layout=layout)
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text(configuration.read_text() + f'adopt = "{adopt}"\n')
    declare(shop, application, layout)
    succeed(shop, "revision", "-m", "as RedisVL made it", "--from-live", "products")
    succeed(shop, "stamp", "head")
    succeed(shop, "check")
    assert "no script was written" in succeed(shop, "revision", "-m", "nothing", "--autogenerate")


def change(
    shop: Shop, application: Application, layout: dict[str, Any], *, exclusive: bool = False
) -> set[str]:
    """Declare the schema, write the revision and apply it: the strategies that did it."""
    declare(shop, application, layout)
    succeed(shop, "revision", "-m", "as declared", "--autogenerate")
    options = ("--exclusive",) if exclusive else ()
    plan = shop.run("plan", "--json", *options).json
    succeed(shop, "upgrade", *options)
    succeed(shop, "check")
    return {step["strategy"] for step in plan["revisions"][0]["steps"]} - {None}


def stock(layout: dict[str, Any]) -> None:
    layout["fields"].append({"name": "stock", "type": "numeric", "attrs": {"sortable": True}})


def other_algorithm(layout: dict[str, Any]) -> None:
    attributes = layout["fields"][3]["attrs"]
    attributes["algorithm"] = "flat" if attributes["algorithm"] == "hnsw" else "hnsw"


def float16(layout: dict[str, Any]) -> None:
    layout["fields"][3]["attrs"]["datatype"] = "float16"


def goods(layout: dict[str, Any]) -> None:
    given = layout["index"]["prefix"]
    layout["index"]["prefix"] = "goods" if isinstance(given, str) else ["goods", *given[1:]]


def bars(layout: dict[str, Any]) -> None:
    layout["fields"][1]["attrs"] = {"separator": "|"}


@dataclass(frozen=True)
class Case:
    """What an application has, what becomes of it, and by which strategy."""

    before: dict[str, Any]
    changed: Callable[[dict[str, Any]], None]
    strategy: str
    adopt: str = "alias"
    exclusive: bool = False

    def __str__(self) -> str:
        index, vector = self.before["index"], self.before["fields"][3]["attrs"]["algorithm"]
        made = f"{index['storage_type']}-{vector}-{index['prefix']}{index['key_separator']}"
        return f"{made}-{self.changed.__name__}-{self.strategy}"


CASES = (
    Case(schema(), stock, "alter"),
    Case(schema("hash", "hnsw", "product", "_"), other_algorithm, "shadow"),
    Case(schema("json", "flat", ["product", "old"]), other_algorithm, "shadow"),
    Case(schema("hash", "flat", "product:", ""), float16, "shadow_field"),
    Case(schema("json", "hnsw"), float16, "shadow"),
    Case(schema("hash", "hnsw"), goods, "shadow_copy"),
    Case(schema("json", "flat", "product", "_"), goods, "shadow_copy"),
    Case(schema("hash", "flat", ["product", "old"]), goods, "rebuild", exclusive=True),
    Case(schema("hash", "hnsw", "product", "_"), float16, "rebuild", adopt="never"),
    Case(schema("json", "hnsw", "product:", ""), bars, "rebuild", adopt="never"),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_redisvl_finds_is_the_same_before_and_after_and_back_again(
    shop: Shop, application: Application, case: Case
):
    begin(shop, application, case.before, case.adopt)
    ask = "answer = answers(index, dtype)"
    before = application.run(ask, dtype="float32")
    assert before["vector"][0] == "red product 17"
    assert (before["count"], before["documents"]) == (DOCUMENTS // 2, DOCUMENTS)

    wanted = copy.deepcopy(case.before)
    case.changed(wanted)
    assert change(shop, application, wanted, exclusive=case.exclusive) == {case.strategy}

    if case.changed is goods:
        # Only who fetches documents by id has to know the new prefix.
        application.run("index = made(layout)", layout=wanted)
    dtype = wanted["fields"][3]["attrs"]["datatype"]
    assert application.run(ask, dtype=dtype) == before
    becomes_alias = case.strategy not in {"alter", "rebuild"}
    assert application.run("answer = index.exists()") is not becomes_alias

    succeed(shop, "downgrade", "-1", *(("--exclusive",) if case.exclusive else ()))
    application.run("index = made(layout)", layout=case.before)
    assert application.run(ask, dtype="float32") == before
    assert shop.run("check").code == 4


MEANWHILE = """
import threading

wrong, asked, is_over = [], 0, threading.Event()

def ask_all_the_time():
    global asked
    while not is_over.is_set():
        try:
            found = nearest(index)
        except Exception as error:
            found = repr(error)
        asked += 1
        if found != expected:
            wrong.append(found)

expected = nearest(index)
asking = threading.Thread(target=ask_all_the_time)
asking.start()
"""


@pytest.mark.parametrize("storage", ["hash", "json"])
def test_what_redisvl_asks_meanwhile_is_answered_as_ever(shop: Shop, application: Application, storage: str):
    begin(shop, application, schema(storage))
    application.run(MEANWHILE)
    change(shop, application, schema(storage, "hnsw"))
    change(shop, application, schema(storage, "hnsw", "goods"))
    succeed(shop, "downgrade", "-2")
    application.run("is_over.set()\nasking.join()")
    assert application.run("answer = wrong[:3]") == []
    assert application.run("answer = asked") > 20


EVERY_OPTION = [
    {
        "name": "title",
        "type": "text",
        "attrs": {
            "weight": 2.5,
            "no_stem": True,
            "withsuffixtrie": True,
            "phonetic_matcher": "dm:en",
            "sortable": True,
            "unf": True,
            "index_missing": True,
            "index_empty": True,
        },
    },
    {"name": "body", "type": "text", "attrs": {"no_index": True, "sortable": True}},
    {
        "name": "brand",
        "type": "tag",
        "attrs": {
            "separator": ";",
            "case_sensitive": True,
            "withsuffixtrie": True,
            "index_empty": True,
            "index_missing": True,
            "sortable": True,
        },
    },
    {"name": "price", "type": "numeric", "attrs": {"sortable": True, "unf": True}},
    {"name": "place", "type": "geo", "attrs": {"sortable": True, "index_missing": True}},
    {
        "name": "embedding",
        "type": "vector",
        "attrs": {
            "algorithm": "hnsw",
            "dims": 4,
            "distance_metric": "ip",
            "datatype": "float64",
            "m": 24,
            "ef_construction": 100,
            "ef_runtime": 40,
            "epsilon": 0.2,
            "initial_cap": 100,
        },
    },
    {
        "name": "image",
        "type": "vector",
        "attrs": {
            "algorithm": "flat",
            "dims": 4,
            "distance_metric": "l2",
            "datatype": "bfloat16",
            "block_size": 2048,
        },
    },
]


@pytest.mark.parametrize("storage", ["hash", "json"])
def test_an_index_with_every_option_of_redisvl_is_baselined_without_a_difference(
    shop: Shop, application: Application, storage: str
):
    layout = schema(storage, prefix=["é", "x{y}"], separator="/")
    layout["index"]["stopwords"] = ["the", "a"]
    nested = {"name": "nested", "type": "tag", "path": "$.more.tags[*]"}
    layout["fields"] = [*EVERY_OPTION, *([nested] if storage == "json" else [])]
    application.run("made(layout).create()", layout=layout)
    declare(shop, application, layout)
    succeed(shop, "revision", "-m", "as RedisVL made it", "--from-live", "products")
    succeed(shop, "stamp", "head")
    succeed(shop, "check")
    assert "no script was written" in succeed(shop, "revision", "-m", "nothing", "--autogenerate")


def with_graph(links: int | None = None) -> dict[str, Any]:
    layout = schema(algorithm="hnsw")
    if links is not None:
        layout["fields"][3]["attrs"]["m"] = links
    return layout


def test_redisvl_does_not_see_that_an_alias_exists_and_repair_drops_what_its_create_makes(
    shop: Shop, application: Application
):
    begin(shop, application, schema())
    nearest = application.run("answer = nearest(index)")
    assert change(shop, application, with_graph()) == {"shadow"}

    for overwrite in (False, True):
        assert application.run("answer = index.exists()") is False
        application.run("index.create(overwrite=overwrite)", overwrite=overwrite)
        hidden = shop.run("check", "--json")
        assert hidden.code == 3
        assert [difference["kind"] for difference in hidden.json["differences"]] == ["alias_hidden"]
        assert "an index hides its alias products" in shop.run("check").out
        succeed(shop, "repair")
        succeed(shop, "check")
        assert application.run("answer = nearest(index)") == nearest


def test_create_leaves_an_index_alone_that_keeps_its_own_name(shop: Shop, application: Application):
    begin(shop, application, schema(), adopt="never")
    change(shop, application, with_graph())
    assert application.run("index.create()\nanswer = index.exists()") is True
    succeed(shop, "check")
    application.run("index.create(overwrite=True)")
    drifted = shop.run("check")
    assert drifted.code == 3
    assert "field 'embedding': algorithm changes from 'HNSW' to 'FLAT'" in drifted.out


def test_an_index_that_redisvl_deletes_through_its_alias_is_created_again_by_repair(
    shop: Shop, application: Application
):
    begin(shop, application, schema())
    nearest = application.run("answer = nearest(index)")
    change(shop, application, with_graph())
    application.run("index.delete(drop=False)")
    assert shop.run("check").code == 3
    succeed(shop, "repair")
    succeed(shop, "check")
    assert application.run("answer = nearest(index)") == nearest


def test_from_existing_remembers_the_physical_index_unless_it_is_told_the_served_name(
    shop: Shop, application: Application
):
    begin(shop, application, schema())
    nearest = application.run("answer = nearest(index)")
    existing = "SearchIndex.from_existing('products', redis_client=client)"
    application.run(f"first = {existing}")
    change(shop, application, with_graph())
    physical = shop.run("current", "--json").json["indexes"]["products"]["physical"]
    assert application.run("answer = [first.name, nearest(first)]") == ["products", nearest]

    application.run(f"second, third = {existing}, {existing}\nthird.schema.index.name = 'products'")
    assert application.run("answer = [second.name, nearest(second)]") == [physical, nearest]
    change(shop, application, with_graph(24))
    everyone = "answer = [nearest(each) for each in (index, first, second, third)]"
    assert application.run(everyone) == [nearest] * 4

    change(shop, application, with_graph(32))
    with pytest.raises(ApplicationError, match=r"(?i)no such index"):
        application.run("nearest(second)")
    assert application.run("answer = [nearest(each) for each in (index, first, third)]") == [nearest] * 3


CACHE = """
from redisvl.extensions.cache.llm import SemanticCache
from redisvl.extensions.message_history import MessageHistory
from redisvl.utils.vectorize import CustomTextVectorizer

vectorizer = CustomTextVectorizer(embed=lambda text, **_: [float(len(text)), 1.0, 2.0, 3.0])

def cache(**options):
    return SemanticCache(
        name="llmcache", vectorizer=vectorizer, redis_client=client, distance_threshold=0.001, **options
    )

def responses(cache):
    return [found["response"] for found in cache.check("hello there")]
"""


def test_what_redisvl_makes_for_itself_is_told_to_leave_the_index_alone(shop: Shop, application: Application):
    application.run(CACHE + "cache().store('hello there', 'hi')")
    session = "MessageHistory(name='history', session_tag='session', redis_client=client"
    application.run(f"{session}).store('what?', 'that')")
    for name in ("llmcache", "history"):
        succeed(shop, "revision", "-m", name, "--from-live", name)
    succeed(shop, "stamp", "head")
    for name, change_ in (
        ("llmcache", "update_fields: [{name: prompt_vector, attrs: {algorithm: hnsw}}]"),
        ("history", "update_fields: [{name: role, attrs: {separator: '|'}}]"),
    ):
        (shop.folder / "patch.yaml").write_text(f"changes: {{{change_}}}")
        succeed(shop, "revision", "-m", "change", "--schema-patch", "patch.yaml", "--index", name)
    succeed(shop, "upgrade")

    assert application.run("answer = responses(cache(create_index=False))") == ["hi"]
    application.run(f"history = {session}, create_index=False)")
    assert application.run("answer = [each['content'] for each in history.get_recent()]") == ["what?", "that"]
    succeed(shop, "check")
    application.run("cache()")
    assert shop.run("check").code == 3


PATCH = """
    version: 1
    changes:
      add_fields:
        - name: color
          type: tag
          attrs: {separator: "|"}
      remove_fields: [price]
      update_fields:
        - {name: title, options: {weight: 2.0}}
        - {name: embedding, attrs: {algorithm: hnsw, datatype: float16}}
      rename_fields:
        - {old_name: brand, new_name: maker}
      index: {name: goods, prefix: goods}
"""


# Vectors of hashes are not re-encoded on the way to another key while writers are up.
@pytest.mark.parametrize(("storage", "exclusive"), [("hash", True), ("json", True), ("json", False)])
def test_a_patch_with_all_sections_becomes_a_revision_and_documents_follow(
    shop: Shop, application: Application, storage: str, exclusive: bool
):
    begin(shop, application, schema(storage))
    nearest = application.run("answer = nearest(index)")
    (shop.folder / "patch.yaml").write_text(textwrap.dedent(PATCH))
    succeed(shop, "revision", "-m", "all of it", "--schema-patch", "patch.yaml", "--index", "products")
    options = ("--exclusive",) if exclusive else ()
    succeed(shop, "upgrade", *options)

    wanted = schema(storage, "hnsw", "goods")
    wanted["index"]["name"] = "goods"
    wanted["fields"][0]["attrs"] = {"weight": 2.0}
    wanted["fields"][1]["name"] = "maker"
    wanted["fields"][2] = {"name": "color", "type": "tag", "attrs": {"separator": "|"}}
    wanted["fields"][3]["attrs"]["datatype"] = "float16"
    declare(shop, application, wanted)
    succeed(shop, "check")
    application.run("goods = made(layout)", layout=wanted)
    assert application.run("answer = nearest(goods, 'float16')") == nearest
    assert application.run("answer = goods.fetch('17')['maker']") == "globex"
    assert application.run("answer = goods.query(CountQuery(Tag('maker') == 'acme'))") == DOCUMENTS // 2

    succeed(shop, "downgrade", "-1", *options)
    assert application.run("answer = nearest(index)") == nearest
    assert application.run("answer = index.fetch('17')['brand']") == "globex"


def test_a_schema_of_redisvl_is_declared_as_the_object_that_the_application_has(
    shop: Shop, application: Application
):
    if (
        b"redismigrate"
        not in subprocess.run([PYTHON, "-m", "pip", "list"], capture_output=True, check=True).stdout
    ):
        pytest.skip(
            "the Python of REDISVL_PYTHON lacks redismigrate: pip install -e . there, as .ci/run does"
        )
    begin(shop, application, schema())
    nearest = application.run("answer = nearest(index)")
    module = "from redisvl.schema import IndexSchema\n\nSCHEMAS = [IndexSchema.from_dict({!r})]\n"
    (shop.folder / "search.py").write_text(module.format(with_graph()))
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text(configuration.read_text().replace('"schema.yaml"', '"search:SCHEMAS"'))

    for arguments, says in (
        (("revision", "-m", "hnsw", "--autogenerate"), "alter field embedding: algorithm=HNSW"),
        (("upgrade",), "Applied 1 revision"),
        (("check",), "Schemas, scripts, record and server agree."),
        (("revision", "-m", "nothing", "--autogenerate"), "no script was written"),
    ):
        done = subprocess.run(
            [PYTHON, "-m", "redismigrate", "--url", shop.url, *arguments],
            cwd=shop.folder,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert says in done.stdout
    assert application.run("answer = nearest(index)") == nearest


@pytest.mark.parametrize("attribute", [None, "embedding"])
def test_a_form_at_a_path_of_its_own_is_queried_by_its_path_alone(
    shop: Shop, application: Application, attribute: str | None
):
    """RedisVL's schema drops `path` on hashes, so what is called otherwise can't be queried."""
    begin(shop, application, schema())
    before = application.run("answer = nearest(index)")
    called = "" if attribute is None else f", attribute={attribute!r}"
    (head,) = shop.run("heads", "--json").json
    shop.write(
        "with op.index('products') as index:\n"
        f"    index.alter_field('embedding', datatype='float16', path='embedding_f16'{called})",
        down_revision=head["revision"],
    )
    assert ("(client_paths)" in succeed(shop, "plan")) == (attribute is not None)
    succeed(shop, "upgrade")
    ask = """
again = SearchIndex.from_existing("products", redis_client=client)
query = VectorQuery(vectors[17], name, return_fields=["title"], num_results=3, dtype="float16")
answer = titles(again.query(query))
"""
    if attribute is None:
        assert application.run(ask, name="embedding_f16") == before
    else:
        with pytest.raises(ApplicationError, match="KeyError"):
            application.run(ask, name=attribute)
