"""Vectors of hashes in another datatype, there and back: every pair of floats, and what stays as it is."""

from __future__ import annotations

import json
import shutil
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from vector_documents import (
    CHANGE,
    DIMS,
    DTYPES,
    TO_BFLOAT16,
    TO_FLOAT16,
    TO_FLOAT32,
    add_products,
    applied,
    converted,
    creation,
    documents,
)

if TYPE_CHECKING:
    from conftest import Shop

pytestmark = pytest.mark.usefixtures("rebuilding")

COUNT = 40
LOSSLESS = {("float16", "float32"), ("float16", "float64"), ("bfloat16", "float32")}
LOSSLESS |= {("bfloat16", "float64"), ("float32", "float64")}
LOSSY = sorted(set(permutations(DTYPES, 2)) - LOSSLESS)


def to(datatype: str, index: str = "products", field: str = "embedding") -> str:
    return f"with op.index({index!r}) as index:\n    index.alter_field({field!r}, datatype={datatype!r})"


def random_vector(number: int, datatype: str = "float32") -> bytes:
    """Numbers that no shorter datatype holds exactly."""
    return np.random.default_rng(number).normal(size=DIMS).astype(DTYPES[datatype]).tobytes()


def add_random(shop: Shop, count: int = COUNT, prefix: str = "p:", datatype: str = "float32") -> None:
    for number in range(count):
        product = {"title": f"shoe {number}", "embedding": random_vector(number, datatype)}
        shop.client.hset(f"{prefix}{number}", mapping=product)


def vectors(shop: Shop) -> dict[bytes, bytes]:
    return {key: fields[b"embedding"] for key, fields in documents(shop).items()}


def neighbours(shop: Shop, query: bytes, index: str = "products") -> list[bytes]:
    reply = shop.client.execute_command(
        "FT.SEARCH", index, "*=>[KNN 3 @embedding $v AS d]", "PARAMS", 2, "v", query,
        "SORTBY", "d", "NOCONTENT", "DIALECT", 2,
    )  # fmt: skip
    return list(reply[1:])


@pytest.fixture
def products(shop: Shop) -> Shop:
    """Forty products with float32 vectors in an index that the first revision made."""
    add_random(shop)
    shop.write(creation())
    applied(shop)
    return shop


@pytest.mark.parametrize("exclusive", [(), ("--exclusive",)], ids=["with writers", "exclusive"])
@pytest.mark.parametrize(("before", "after"), list(permutations(DTYPES, 2)))
def test_every_datatype_becomes_every_other_and_comes_back_byte_for_byte(
    shop: Shop, before: str, after: str, exclusive: tuple[str, ...]
):
    add_random(shop, datatype=before)
    shop.write(creation(datatype=before))
    applied(shop)
    originals = documents(shop)
    shop.write(to(after), to(before))

    up = applied(shop, *exclusive)

    assert (up["read"], up["rewritten"], up["failed"], up["left_in_old_type"]) == (COUNT, COUNT, [], 0)
    expected = {
        key: {**fields, b"embedding": converted(fields[b"embedding"], before, after)}
        for key, fields in originals.items()
    }
    assert documents(shop) == expected
    assert neighbours(shop, expected[b"p:7"][b"embedding"])[0] == b"p:7"

    down = applied(shop, "-1", *exclusive, verb="downgrade")

    assert (down["read"], down["rewritten"], down["failed"]) == (COUNT, COUNT, [])
    assert documents(shop) == originals
    assert neighbours(shop, originals[b"p:7"][b"embedding"])[0] == b"p:7"


def test_a_downgrade_converts_what_has_no_backup_and_restores_the_rest(products: Shop):
    originals = vectors(products)
    products.write(TO_FLOAT16, TO_FLOAT32)
    applied(products)
    products.client.hset("p:3", "embedding", random_vector(300, "float16"))
    products.client.hset("p:new", mapping={"title": "new", "embedding": random_vector(301, "float16")})
    products.client.delete("p:4")

    applied(products, "-1", verb="downgrade")

    del originals[b"p:4"]
    originals[b"p:3"] = converted(random_vector(300, "float16"), "float16", "float32")
    originals[b"p:new"] = converted(random_vector(301, "float16"), "float16", "float32")
    assert vectors(products) == originals
    assert products.hits("products") == COUNT


@pytest.mark.parametrize(("before", "after"), LOSSY)
def test_without_the_backup_a_lossy_revision_is_not_undone_unless_that_is_accepted(
    shop: Shop, before: str, after: str
):
    add_random(shop, datatype=before)
    shop.write(creation(datatype=before))
    applied(shop)
    shop.write(to(after), to(before))
    applied(shop)
    left = {key: converted(value, after, before) for key, value in vectors(shop).items()}
    location = (shop.state("head") or {})["revisions"]["000000000002"]["backup"]
    shutil.rmtree(shop.folder / "redismigrate-backups")

    shop.refuses(
        "downgrade",
        "-1",
        code=6,
        says=(
            (
                "The plan is blocked: 000000000002: revision 000000000002 has re-encoded embedding of index "
                f"products to {after.upper()}, which lost precision, and its backup {location}/products is "
                "not here"
            ),
            "name the folder of the backups with --backup-dir, or convert what is left with --allow-lossy",
        ),
    )

    applied(shop, "-1", "--allow-lossy", verb="downgrade")
    assert vectors(shop) == left


@pytest.mark.parametrize(("before", "after"), sorted(LOSSLESS))
def test_a_revision_that_lost_nothing_is_undone_without_its_backup(shop: Shop, before: str, after: str):
    add_random(shop, datatype=before)
    shop.write(creation(datatype=before))
    applied(shop)
    originals = documents(shop)
    shop.write(to(after), to(before))
    applied(shop)
    shutil.rmtree(shop.folder / "redismigrate-backups")

    applied(shop, "-1", verb="downgrade")

    assert documents(shop) == originals


def test_a_backup_that_was_moved_is_found_by_its_new_folder(products: Shop):
    originals = documents(products)
    products.write(TO_FLOAT16, TO_FLOAT32)
    applied(products)
    moved = products.folder / "elsewhere"
    (products.folder / "redismigrate-backups").rename(moved)

    applied(products, "-1", "--backup-dir", str(moved), verb="downgrade")

    assert documents(products) == originals


def test_a_backup_goes_where_the_command_says(products: Shop):
    products.write(TO_FLOAT16, TO_FLOAT32)

    result = products.run("upgrade", "--backup-dir", "saved", "--json")

    backup = result.json["backup"]
    assert backup == str(products.folder / "saved" / "shop" / result.json["run"])
    assert (products.folder / "saved" / "shop" / result.json["run"] / "000000000002" / "products").is_dir()


def test_a_backup_is_told_though_the_last_revision_made_none(products: Shop):
    products.write(TO_FLOAT16, TO_FLOAT32)
    products.write(f"{CHANGE}index.add_field({{'name': 'brand', 'type': 'tag'}})")

    result = products.run("upgrade", "--json")

    assert len(result.json["revisions"]) == 2
    assert result.json["backup"] == str(
        products.folder / "redismigrate-backups" / "shop" / result.json["run"]
    )


def test_documents_without_the_field_stay_as_they_are(products: Shop):
    products.client.hset("p:bare", mapping={"title": "bare"})
    products.write(TO_FLOAT16, TO_FLOAT32)

    counts = applied(products)

    assert (counts["read"], counts["rewritten"], counts["failed"]) == (COUNT + 1, COUNT, [])
    assert products.client.hgetall("p:bare") == {b"title": b"bare"}
    assert products.hits("products") == COUNT + 1


def test_a_batch_of_which_a_filter_keeps_every_document_out_is_passed_over(shop: Shop):
    vector = {"algorithm": "flat", "dims": DIMS, "distance_metric": "l2", "datatype": "float32"}
    schema = {
        "index": {"name": "products", "prefix": "p:", "filter": "@kind == 'shown'"},
        "fields": [{"name": "kind", "type": "tag"}, {"name": "embedding", "type": "vector", "attrs": vector}],
    }
    add_products(shop, COUNT)
    shop.write(f"op.create_index({schema!r})", "op.drop_index('products')")
    applied(shop)
    before = documents(shop)
    shop.write(TO_FLOAT16, TO_FLOAT32)

    counts = applied(shop, "--exclusive")

    assert (counts["read"], counts["rewritten"]) == (0, 0)
    assert documents(shop) == before


def test_keys_of_other_types_under_the_prefix_are_no_documents(products: Shop):
    products.client.set("p:text", "x" * 4 * DIMS)
    products.client.rpush("p:list", "a")
    products.write(TO_FLOAT16, TO_FLOAT32)

    assert applied(products)["read"] == COUNT
    assert products.client.get("p:text") == b"x" * 4 * DIMS


@pytest.mark.parametrize("algorithms", [("flat", "hnsw"), ("hnsw", "flat")])
def test_several_vector_fields_are_re_encoded_in_one_pass(shop: Shop, algorithms: tuple[str, str]):
    fields = [
        {"name": name, "type": "vector", "attrs": {
            "algorithm": algorithm, "dims": dims, "distance_metric": "l2", "datatype": "float32"}}
        for name, algorithm, dims in zip(("image", "text"), algorithms, (4, 6), strict=True)
    ]  # fmt: skip
    numbers = {key: np.random.default_rng(key).normal(size=10).astype("f4") for key in range(COUNT)}
    for key, all_numbers in numbers.items():
        image, text = all_numbers[:4].tobytes(), all_numbers[4:].tobytes()
        product = [{"image": image, "text": text}, {"image": image}, {"text": text}][key % 3]
        shop.client.hset(f"p:{key}", mapping=product)
    shop.write(f"op.create_index({{'index': {{'name': 'products', 'prefix': 'p:'}}, 'fields': {fields!r}}})")
    applied(shop)
    originals = documents(shop)
    shop.write(
        "with op.index('products') as index:\n"
        "    index.alter_field('image', datatype='float16')\n"
        "    index.alter_field('text', datatype='float64', algorithm='hnsw')",
        "with op.index('products') as index:\n"
        "    index.alter_field('image', datatype='float32')\n"
        f"    index.alter_field('text', datatype='float32', algorithm={algorithms[1]!r})",
    )

    counts = applied(shop)

    assert (counts["read"], counts["rewritten"]) == (COUNT, COUNT)
    after = {b"image": "float16", b"text": "float64"}
    assert documents(shop) == {
        key: {name: converted(value, "float32", after[name]) for name, value in product.items()}
        for key, product in originals.items()
    }
    applied(shop, "-1", verb="downgrade")
    assert documents(shop) == originals


def test_vectors_that_two_fields_read_are_re_encoded_once(shop: Shop):
    add_random(shop)
    fields = [
        {"name": name, "type": "vector", "path": "embedding", "attrs": {
            "algorithm": "flat", "dims": DIMS, "distance_metric": metric, "datatype": "float32"}}
        for name, metric in (("near", "l2"), ("alike", "cosine"))
    ]  # fmt: skip
    shop.write(f"op.create_index({{'index': {{'name': 'products', 'prefix': 'p:'}}, 'fields': {fields!r}}})")
    applied(shop)
    originals = vectors(shop)
    shop.write(
        to("float16", field="near") + "\n    index.alter_field('alike', datatype='float16')",
        to("float32", field="near") + "\n    index.alter_field('alike', datatype='float32')",
    )

    assert applied(shop)["rewritten"] == COUNT == shop.hits("products")

    assert vectors(shop) == {key: converted(value, "float32", "float16") for key, value in originals.items()}
    applied(shop, "-1", verb="downgrade")
    assert vectors(shop) == originals


@pytest.mark.parametrize(
    ("prefixes", "covered"),
    [
        ([], ["p:", "q:", "other:"]),
        (["p:", "q:"], ["p:", "q:"]),
        (["p:", "p:1", "p"], ["p:"]),
        (["*", "p?", "[pq]:", "p\\*:"], ["*:", "p?:", "[pq]:", "p\\*:"]),
        ([f"x{number}:" for number in range(20)], ["x3:", "x19:"]),
    ],
    ids=["none", "several", "overlapping", "wildcards", "many"],
)
def test_the_keys_of_all_prefixes_and_no_others_are_rewritten(
    shop: Shop, prefixes: list[str], covered: list[str]
):
    for prefix in {*covered, "p:", "q:", "other:"}:
        add_random(shop, 5, prefix)
    shop.write(creation(prefix=prefixes))  # type: ignore[arg-type]
    applied(shop)
    originals = vectors(shop)
    shop.write(TO_FLOAT16, TO_FLOAT32)

    counts = applied(shop)

    inside = tuple(prefix.encode() for prefix in covered)
    assert counts["rewritten"] == 5 * len(covered)
    assert vectors(shop) == {
        key: converted(value, "float32", "float16") if key.startswith(inside) else value
        for key, value in originals.items()
    }
    applied(shop, "-1", verb="downgrade")
    assert vectors(shop) == originals


def test_prefixes_and_fields_may_hold_bytes_that_are_no_text_and_keys_any(shop: Shop):
    # FT.INFO escapes line breaks and ends at a zero byte, so an index with those can't be taken on.
    prefix, field = b"\xff *[:", b'\xfe"$5 v'
    # All bytes, but not all of them behind the same ones: RediSearch 8.2.13 spoils its own memory then.
    rests = [b"/" * (number % 2) + bytes([number]) for number in range(256)]
    originals = {prefix + rest: random_vector(number) for number, rest in enumerate(rests)}
    for key, value in originals.items():
        shop.client.hset(key, mapping={field: value})
    shop.client.execute_command(
        "FT.CREATE", "products", "PREFIX", 1, prefix, "SCHEMA", field, "AS", "embedding",
        "VECTOR", "FLAT", 6, "TYPE", "FLOAT32", "DIM", DIMS, "DISTANCE_METRIC", "L2",
    )  # fmt: skip
    shop.write(TO_FLOAT16, TO_FLOAT32)

    assert applied(shop, "--batch-size", "10")["rewritten"] == 256

    found = documents(shop)
    assert {key: found[key][field] for key in originals} == {
        key: converted(value, "float32", "float16") for key, value in originals.items()
    }
    assert shop.hits("products") == 256
    applied(shop, "base", verb="downgrade")
    assert {key: fields[field] for key, fields in documents(shop).items()} == originals


def test_documents_that_a_filter_keeps_out_are_not_touched(shop: Shop):
    add_random(shop)
    for number in range(0, COUNT, 2):
        shop.client.hset(f"p:{number}", "state", "live")
    filtered = creation().replace("'prefix': 'p:'", "'prefix': 'p:', 'filter': '@state==\"live\"'")
    shop.write(filtered)
    applied(shop)
    members = shop.hits("products")
    originals = vectors(shop)
    shop.write(TO_FLOAT16, TO_FLOAT32)

    shop.refuses(
        "upgrade",
        code=6,
        says=(
            (
                "The plan is blocked: 000000000002: index products has a FILTER, and which documents it "
                "keeps out can't be told while it is down: pause writers and say --exclusive"
            ),
        ),
    )
    counts = applied(shop, "--exclusive")

    assert 0 < members < COUNT
    assert counts["rewritten"] == members == shop.hits("products")
    outside = [f"p:{number}".encode() for number in range(1, COUNT, 2)]
    assert all(vectors(shop)[key] == originals[key] for key in outside)
    applied(shop, "-1", "--exclusive", verb="downgrade")
    assert vectors(shop) == originals


def test_what_a_filter_may_have_kept_out_is_not_called_rewritten_when_a_revision_is_undone(shop: Shop):
    add_random(shop)
    shop.client.hset("p:1", "state", "live")
    shop.client.hset("p:2", "embedding", random_vector(2, "float16"))
    shop.write(creation().replace("'prefix': 'p:'", "'prefix': 'p:', 'filter': '@state==\"live\"'"))
    applied(shop)
    before = documents(shop)
    shop.write(
        TO_FLOAT16 + "\nop.run(fail)", preamble="def fail(client):\n    raise ValueError('no more paper')"
    )

    result = shop.run("upgrade", "--exclusive")

    assert result.code == 1
    assert "p:2: it is in the new form: written since, or never in the index by its FILTER" in result.out
    assert documents(shop) == before


def test_all_documents_of_an_index_made_without_a_scan_are_rewritten_and_indexed(shop: Shop):
    add_random(shop)
    shop.write(creation().replace("'prefix': 'p:'", "'prefix': 'p:', 'skip_initial_scan': True"))
    applied(shop)
    assert shop.hits("products") == 0
    shop.write(TO_FLOAT16, TO_FLOAT32)

    result = shop.run("upgrade", "--json")

    assert result.json["documents"]["rewritten"] == shop.hits("products") == COUNT
    assert any("made with SKIPINITIALSCAN; this scans all documents" in w for w in result.json["warnings"])


def test_an_index_that_is_renamed_too_keeps_its_aliases_and_synonyms(products: Shop):
    products.write(
        "op.create_alias('catalog', 'products')\nop.set_synonyms('products', 'g', ['shoe', 'boot'])"
    )
    applied(products)
    before = documents(products)
    products.write(
        "with op.index('products') as index:\n"
        "    index.rename_to('goods')\n    index.alter_field('embedding', datatype='float16')",
        "with op.index('goods') as index:\n"
        "    index.alter_field('embedding', datatype='float32')\n    index.rename_to('products')",
    )

    applied(products)

    assert products.hits("goods") == products.hits("catalog", "boot") == COUNT
    assert products.client.execute_command("FT._LIST") == [b"goods"]
    applied(products, "-1", verb="downgrade")
    assert documents(products) == before
    assert products.hits("products") == products.hits("catalog", "boot") == COUNT


def test_a_chain_of_re_encodings_goes_down_to_the_first_bytes(products: Shop):
    originals = documents(products)
    products.write(TO_FLOAT16, TO_FLOAT32)
    products.write(TO_BFLOAT16, TO_FLOAT16)

    applied(products)

    halves = {key: converted(f[b"embedding"], "float32", "float16") for key, f in originals.items()}
    assert vectors(products) == {key: converted(v, "float16", "bfloat16") for key, v in halves.items()}
    applied(products, "-1", verb="downgrade")
    assert vectors(products) == halves
    applied(products)
    applied(products, "000000000001", verb="downgrade")
    assert documents(products) == originals


@pytest.mark.parametrize("exclusive", [(), ("--exclusive",)], ids=["with writers", "exclusive"])
@pytest.mark.parametrize("count", [0, 1])
def test_an_index_of_few_documents_or_none_is_no_special_case(
    shop: Shop, count: int, exclusive: tuple[str, ...]
):
    add_random(shop, count)
    shop.write(creation())
    applied(shop)
    originals = documents(shop)
    shop.write(TO_FLOAT16, TO_FLOAT32)

    assert applied(shop, *exclusive)["rewritten"] == count == shop.hits("products")
    applied(shop, "-1", *exclusive, verb="downgrade")
    assert documents(shop) == originals


@pytest.mark.parametrize("workers", ["1", "8"])
@pytest.mark.parametrize("batch_size", ["1", "7", "500"])
def test_batches_and_workers_change_nothing_but_the_time(products: Shop, batch_size: str, workers: str):
    originals = vectors(products)
    products.write(TO_FLOAT16, TO_FLOAT32)
    options = ("--batch-size", batch_size, "--workers", workers)

    assert applied(products, *options)["rewritten"] == COUNT
    assert vectors(products) == {k: converted(v, "float32", "float16") for k, v in originals.items()}
    applied(products, "-1", *options, verb="downgrade")
    assert vectors(products) == originals


def test_times_to_live_of_keys_and_fields_stay(products: Shop):
    moment = 4_102_444_800_000
    products.client.pexpireat("p:1", moment)
    products.client.execute_command("HPEXPIREAT", "p:2", moment, "FIELDS", 1, "embedding")
    products.client.execute_command("HPEXPIREAT", "p:3", moment, "FIELDS", 1, "title")
    products.write(TO_FLOAT16, TO_FLOAT32)
    for verb, target in (("upgrade", "head"), ("downgrade", "-1")):
        applied(products, target, "--exclusive", verb=verb)
        execute = products.client.execute_command
        assert products.client.pexpiretime("p:1") == moment
        assert execute("HPEXPIRETIME", "p:2", "FIELDS", 2, "embedding", "title") == [moment, -1]
        assert execute("HPEXPIRETIME", "p:3", "FIELDS", 2, "embedding", "title") == [-1, moment]


def test_documents_that_cannot_be_converted_stop_it_before_anything_is_touched(products: Shop):
    huge = np.full(DIMS, 1e30, "f4")
    products.client.hset("p:5", "embedding", huge.tobytes())
    products.client.hset(b"p:\xff", mapping={"embedding": b"short"})
    before = documents(products)
    products.write(TO_FLOAT16, TO_FLOAT32)

    result = products.run("upgrade")

    assert result.code == 1
    assert "2 of 41 documents of products can't be rewritten: " in result.err
    assert "p:5: embedding: component 0 is 1e+30, FLOAT16 ends at 65504" in result.err
    assert r"p:\xff: embedding: 5 bytes, expected 32 (8 x FLOAT32)" in result.err
    assert "Correct them, or leave them as they are with --max-failures 2." in result.err
    assert documents(products) == before
    assert products.hits("products") == COUNT

    counts = applied(products, "--max-failures", "2")

    reasons = {json.dumps(failed["key"]): failed["reason"] for failed in counts["failed"]}
    assert reasons == {
        '"p:5"': "embedding: component 0 is 1e+30, FLOAT16 ends at 65504",
        '{"base64": "cDr/"}': "embedding: 5 bytes, expected 32 (8 x FLOAT32)",
    }
    assert (counts["read"], counts["rewritten"], counts["failed_count"]) == (COUNT + 1, COUNT - 1, 2)
    assert products.client.hget("p:5", "embedding") == huge.tobytes()


def test_the_record_shows_the_new_datatype(products: Shop):
    products.write(TO_FLOAT16, TO_FLOAT32)
    applied(products)

    index = products.run("current", "--json").json["indexes"]["products"]

    assert index["schema"]["fields"][1]["attrs"]["datatype"] == "float16"


@pytest.mark.parametrize("command", [("plan",), ("upgrade", "--dry-run")])
def test_a_plan_shows_what_it_costs_and_changes_nothing(products: Shop, command: tuple[str, ...]):
    products.write(TO_FLOAT16, TO_FLOAT32)
    before = products.content()

    made = products.run(*command, "--json").json
    shown = " ".join(products.run(*command).out.split())

    assert products.content() == before
    steps = {step["kind"]: step for step in made["revisions"][0]["steps"]}
    backup, rewrite = (steps[kind]["estimate"] for kind in ("back_up_documents", "rewrite_documents"))
    assert (backup["documents"], backup["bytes_read"]) == (COUNT, COUNT * DIMS * 4)
    assert backup["backup_bytes"] > COUNT * DIMS * 4
    assert rewrite["bytes_written"] == COUNT * DIMS * 2
    assert {step["strategy"] for step in steps.values()} == {"rebuild", None}
    assert "back up the documents of products" in shown
    assert "queries on products must send FLOAT16 vectors afterwards (query_bytes_change)" in shown
    assert "miss documents for about" in shown


def test_a_plan_that_does_not_fit_into_memory_is_blocked_with_the_numbers(products: Shop):
    add_products(products, 8000)
    products.wait_until_indexed()
    products.write(to("float64"), TO_FLOAT32)
    used = int(products.client.info("memory")["used_memory"])
    products.client.config_set("maxmemory", used + 200_000)
    try:
        result = products.run("plan", "--json")
        shown = products.run("upgrade")
    finally:
        products.client.config_set("maxmemory", 0)

    assert (result.code, shown.code) == (6, 6)
    assert "000000000002: index products needs about 0." in shown.err
    assert "MB maxmemory are used" in shown.err
    assert any("index products needs about" in reason for reason in result.json["blocked"])
