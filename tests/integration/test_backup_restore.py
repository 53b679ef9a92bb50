"""`redismigrate backup restore`: what gets its originals back, what is left, and when it is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from backup_samples import write_backup
from conftest import Shop
from long_chain import recorded_events, run
from vector_documents import (
    CHANGE,
    ONE_PASS,
    ONE_PASS_BACK,
    TO_BFLOAT16,
    TO_FLOAT16,
    TO_FLOAT32,
    TO_NEW_PREFIX,
    TO_OLD_PREFIX,
    add_products,
    applied,
    creation,
    documents,
    kill_before,
    vector,
)

pytestmark = pytest.mark.usefixtures("rebuilding")

PRODUCTS = 60
CREATE, REVISION = "000000000001", "000000000002"
EXPIRY = 4_102_444_800_000
RENAME, RENAME_BACK = (
    CHANGE + "index.rename_field('title', 'name')",
    CHANGE + "index.rename_field('name', 'title')",
)


@pytest.fixture
def products(shop: Shop) -> Shop:
    """The shop with 60 products in an index of float32 vectors."""
    add_products(shop, PRODUCTS)
    shop.write(creation(), "op.drop_index('products')", revision=CREATE)
    applied(shop)
    return shop


def upgraded(shop: Shop, change: str = TO_FLOAT16, back: str = TO_FLOAT32) -> str:
    """Apply a revision that rewrites the products; the id of the run."""
    shop.write(change, back)
    result = shop.run("upgrade", "--exclusive", "--json")
    assert result.code == 0, result.err
    return str(result.json["run"])


def without_index(shop: Shop, change: str = TO_FLOAT16, back: str = TO_FLOAT32) -> str:
    """The same, and nothing reads the documents any more; the id of the run that rewrote them."""
    run_id = upgraded(shop, change, back)
    shop.client.execute_command("FT.DROPINDEX", "products")
    return run_id


def restored(shop: Shop, run_id: str, *options: str) -> dict[str, Any]:
    """Restore the only backup of a run; what is told of it."""
    result = shop.run("backup", "restore", "--run", run_id, "--json", *options)
    assert result.code == 0, result.err
    (backup,) = result.json["backups"]
    return dict(backup)


def folder_of_backup(shop: Shop) -> Path:
    """Of the one that is there."""
    (manifest,) = (shop.folder / "redismigrate-backups").rglob("manifest.json")
    return manifest.parent


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


# --- what is restored ---------------------------------------------------------------------------------------


def test_documents_get_their_original_bytes_back(products: Shop):
    before = documents(products)
    run_id = without_index(products)
    assert documents(products) != before

    result = products.run("backup", "restore", "--run", run_id)

    assert result.out.endswith(f"{run_id} {REVISION} products: {PRODUCTS} documents restored.\n")
    assert documents(products) == before


def test_the_beginning_of_the_id_of_the_run_is_enough(products: Shop):
    run_id = without_index(products)

    assert restored(products, run_id[:6])["restored"] == PRODUCTS


@pytest.mark.parametrize(
    ("change", "back"),
    [
        (TO_BFLOAT16, TO_FLOAT32),
        (RENAME, RENAME_BACK),
        (TO_NEW_PREFIX, TO_OLD_PREFIX),
        (ONE_PASS, ONE_PASS_BACK),
        (
            TO_FLOAT16 + "; index.rename_field('title', 'name'); index.change_prefix('p:', 'q:')",
            "pass",
        ),
    ],
    ids=["bfloat16", "rename", "prefix", "rename and float16", "all at once"],
)
def test_whatever_was_done_to_the_documents_is_taken_back(products: Shop, change: str, back: str):
    products.client.hset(b"p:\xff\n", mapping={"title": "odd", "embedding": vector(1), b"\xfe": b"\x00"})
    before = documents(products)
    run_id = without_index(products, change, back)
    assert documents(products) != before

    told = restored(products, run_id)

    assert documents(products) == before
    assert (told["restored"], told["left"]) == (PRODUCTS + 1, [])


def test_json_documents_get_their_text_back_byte_by_byte(products: Shop):
    execute: Any = products.client.execute_command
    texts = {f"a:{n}": f'{{"title":"news {n}","price":{n}.5,"more":{{"deep":[1,2]}}}}' for n in range(20)}
    for key, text in texts.items():
        execute("JSON.SET", key, "$", text)
    schema = {
        "index": {"name": "articles", "prefix": "a:", "storage_type": "json"},
        "fields": [{"name": "title", "type": "text"}],
    }
    products.write(f"op.create_index({schema!r})", "op.drop_index('articles')")
    applied(products)
    run_id = upgraded(
        products,
        "with op.index('articles') as index:\n    index.rename_field('title', 'headline', '$.headline')",
        "pass",
    )
    assert execute("JSON.GET", "a:1", "$.headline") == b'["news 1"]'
    execute("FT.DROPINDEX", "articles")

    assert restored(products, run_id)["restored"] == 20

    assert {key: execute("JSON.GET", key).decode() for key in texts} == texts


def test_the_backup_of_a_downgrade_brings_back_what_the_downgrade_has_taken_away(products: Shop):
    upgraded(products)
    before = documents(products)
    run_id = products.run("downgrade", "-1", "--json").json["run"]
    assert documents(products) != before
    products.client.execute_command("FT.DROPINDEX", "products")

    told = restored(products, run_id)

    assert documents(products) == before
    assert (told["restored"], told["left"]) == (PRODUCTS, [])


def test_without_the_backup_that_a_downgrade_has_used_its_own_is_not_restored(products: Shop):
    upgraded(products)
    used = folder_of_backup(products)
    run_id = str(products.run("downgrade", "-1", "--json").json["run"])
    products.client.execute_command("FT.DROPINDEX", "products")
    shutil.move(used, products.folder / "elsewhere")

    says = (f"The backup that this needs is not on this machine, and not in {used}",)
    products.refuses("backup", "restore", "--run", run_id, code=1, says=says)

    shutil.move(products.folder / "elsewhere", used)
    flip(used / "chunk-000001.npz", 50)
    says = (f"The backup in {used} is damaged: chunk-000001.npz",)
    products.refuses("backup", "restore", "--run", run_id, code=1, says=says)


def test_times_to_live_survive(products: Shop):
    products.client.pexpireat("p:1", EXPIRY)
    products.client.hpexpireat("p:2", EXPIRY, "embedding")
    run_id = without_index(products)

    restored(products, run_id)

    assert products.client.pexpiretime("p:1") == EXPIRY
    assert products.client.hpexpiretime("p:2", "embedding") == [EXPIRY]


def test_the_backups_of_all_revisions_of_a_run_are_restored_the_newest_first(products: Shop):
    before = documents(products)
    products.write(TO_FLOAT16, TO_FLOAT32)
    run_id = without_index(products, TO_BFLOAT16, TO_FLOAT16)

    result = products.run("backup", "restore", "--run", run_id, "--json")

    told = [(backup["revision"], backup["restored"]) for backup in result.json["backups"]]
    assert told == [("000000000003", PRODUCTS), (REVISION, PRODUCTS)]
    assert documents(products) == before


def test_a_second_restore_finds_everything_in_place(products: Shop):
    run_id = without_index(products)
    first = restored(products, run_id)
    before = documents(products)

    assert restored(products, run_id) == first

    assert documents(products) == before


def test_a_run_that_failed_and_is_undone_leaves_nothing_to_restore(products: Shop):
    before = documents(products)
    products.write(TO_FLOAT16 + "\nop.run(fail)", preamble="def fail(client):\n    raise ValueError")
    assert products.run("upgrade").code == 1
    run_id = folder_of_backup(products).parts[-3]

    restored(products, run_id)

    assert documents(products) == before


@pytest.mark.parametrize("kind", ["drop_index", "create_index"])
def test_the_backup_of_a_run_that_was_rolled_back_is_restored_without_effect(products: Shop, kind: Any):
    before = documents(products)
    products.write(TO_FLOAT16)
    kill_before(products, kind, "upgrade", "head")
    run(products, "rollback")

    told = restored(products, folder_of_backup(products).parts[-3])

    assert (told["restored"], told["left_count"]) == (PRODUCTS, 0)
    assert documents(products) == before


def test_the_journal_tells_of_it_and_the_record_of_revisions_stays(products: Shop):
    run_id = without_index(products)
    head, indexes = products.state("head"), products.state("indexes")

    restored(products, run_id)

    assert recorded_events(products, "restore") == [REVISION]
    assert (products.state("head"), products.state("indexes")) == (head, indexes)


def test_backups_that_were_copied_elsewhere_are_found_by_the_option(products: Shop):
    before = documents(products)
    run_id = without_index(products)
    shutil.move(products.folder / "redismigrate-backups", products.folder / "elsewhere")

    restored(products, run_id, "--backup-dir", "elsewhere")

    assert documents(products) == before


# --- what is left -------------------------------------------------------------------------------------------


def test_documents_that_the_application_has_rewritten_since_are_left_and_told(products: Shop):
    run_id = without_index(products)
    mine = {"p:3": vector(77, "float16"), "p:4": vector(78, "float32"), "p:5": b"short"}
    for key, value in mine.items():
        products.client.hset(key, "embedding", value)

    result = products.run("backup", "restore", "--run", run_id)

    for key, value in mine.items():
        assert products.client.hget(key, "embedding") == value
        assert f"{key}: the application has rewritten it since; left as it is" in result.out + result.err
    assert f"products: {PRODUCTS - 3} documents restored; 3 documents left as they are." in result.out
    assert products.client.hget("p:6", "embedding") == vector(6)


def test_new_documents_of_the_new_form_are_told_too(products: Shop):
    run_id = without_index(products)
    products.client.hset("p:new", "embedding", vector(3, "float16"))

    told = restored(products, run_id)

    assert told["left"] == [
        {"key": "p:new", "reason": "the application has written it in the new form; left as it is"}
    ]
    assert products.client.hget("p:new", "embedding") == vector(3, "float16")


@pytest.mark.parametrize(
    ("change", "back"), [(TO_FLOAT16, TO_FLOAT32), (RENAME, RENAME_BACK), (TO_NEW_PREFIX, TO_OLD_PREFIX)]
)
def test_deleted_documents_stay_away(products: Shop, change: str, back: str):
    run_id = without_index(products, change, back)
    products.client.delete("p:1", "q:1")

    told = restored(products, run_id)

    assert (told["restored"], told["left_count"]) == (PRODUCTS - 1, 0)
    assert not products.client.exists("p:1", "q:1")


def test_a_vector_that_was_taken_out_of_its_document_stays_out(products: Shop):
    run_id = without_index(products)
    products.client.hdel("p:1", "embedding")

    restored(products, run_id)

    assert products.client.hgetall("p:1") == {b"title": b"shoe 1"}


def test_a_key_that_is_something_else_by_now_is_left_alone(products: Shop):
    run_id = without_index(products)
    products.client.delete("p:1")
    products.client.set("p:1", "a string")

    restored(products, run_id)

    assert products.client.get("p:1") == b"a string"


def test_what_stands_in_the_old_place_by_now_is_never_overwritten(products: Shop):
    run_id = without_index(products, RENAME + "; index.change_prefix('p:', 'q:')", "pass")
    products.client.hset("p:1", "title", "another one")
    products.client.hset("q:2", "title", "of the application")

    told = restored(products, run_id)

    assert sorted(told["left"], key=lambda document: document["key"]) == [
        {"key": "q:1", "reason": "a key p:1 exists already"},
        {"key": "q:2", "reason": "it has a field title already, beside name"},
    ]
    assert products.client.hget("p:1", "title") == b"another one"
    assert products.client.hget("q:2", "title") == b"of the application"
    assert products.client.hget("q:2", "name") == b"shoe 2"


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "back", "reason"),
    [
        (TO_FLOAT16, TO_FLOAT32, "index products reads field embedding of the same keys as 8 x FLOAT16"),
        (RENAME, RENAME_BACK, "index products reads name of the same keys"),
        (TO_NEW_PREFIX, TO_OLD_PREFIX, "index products covers keys q:*: it would lose the documents"),
    ],
    ids=["float16", "rename", "prefix"],
)
def test_while_a_live_index_would_lose_the_documents_it_is_refused_and_names_the_way_out(
    products: Shop, change: str, back: str, reason: str
):
    run_id = upgraded(products, change, back)

    products.refuses(
        "backup",
        "restore",
        "--run",
        run_id[:8],
        code=6,
        says=(
            "Live indexes would lose documents: ",
            reason,
            f"`redismigrate rollback --run {run_id}` and `downgrade` bring indexes and documents back",
            "--force restores the documents alone.",
        ),
    )

    assert products.hits("products") == PRODUCTS


def test_an_index_of_somebody_else_counts_as_well(products: Shop):
    run_id = without_index(products)
    products.client.execute_command(
        "FT.CREATE", "offers", "PREFIX", 1, "p:1", "SCHEMA", "embedding", "VECTOR",
        "FLAT", 6, "TYPE", "FLOAT16", "DIM", 8, "DISTANCE_METRIC", "L2",
    )  # fmt: skip

    says = ("Live indexes would lose documents: index offers reads field embedding of the same keys",)
    products.refuses("backup", "restore", "--run", run_id, code=6, says=says)


def test_an_index_that_reads_the_originals_gets_the_documents_back(products: Shop):
    products.client.execute_command(
        "FT.CREATE", "offers", "PREFIX", 1, "p:", "SCHEMA", "embedding", "VECTOR",
        "FLAT", 6, "TYPE", "FLOAT32", "DIM", 8, "DISTANCE_METRIC", "L2",
    )  # fmt: skip
    products.client.execute_command("FT.DROPINDEX", "offers")
    run_id = without_index(products)
    products.client.execute_command(
        "FT.CREATE", "offers", "PREFIX", 1, "p:", "SCHEMA", "embedding", "VECTOR",
        "FLAT", 6, "TYPE", "FLOAT32", "DIM", 8, "DISTANCE_METRIC", "L2",
    )  # fmt: skip
    products.wait_until_indexed()
    assert products.hits("offers") == 0

    restored(products, run_id)

    assert products.hits("offers") == PRODUCTS


def test_force_restores_although_a_live_index_loses_the_documents(products: Shop):
    before = documents(products)
    run_id = upgraded(products)

    told = restored(products, run_id, "--force")

    assert told["restored"] == PRODUCTS
    assert documents(products) == before
    assert products.hits("products") == 0


@pytest.mark.parametrize("position", [0, 100, -1])
def test_a_damaged_chunk_is_named_and_nothing_of_any_chunk_is_restored(products: Shop, position: int):
    before = documents(products)
    run_id = without_index(products)
    rewritten = documents(products)
    folder = folder_of_backup(products)
    flip(folder / "chunk-000001.npz", position)

    products.refuses(
        "backup",
        "restore",
        "--run",
        run_id,
        "--force",
        code=1,
        says=(
            f"The backup in {folder} is damaged: chunk-000001.npz was changed after it was written",
            "Nothing was restored.",
            "Put an intact copy of the folder in its place.",
        ),
    )

    assert documents(products) == rewritten
    flip(folder / "chunk-000001.npz", position)
    restored(products, run_id)
    assert documents(products) == before


@pytest.mark.parametrize("file", ["manifest.json", "chunk-000001.npz"])
def test_a_missing_file_is_named_and_nothing_is_restored(products: Shop, file: str):
    run_id = without_index(products)
    folder = folder_of_backup(products)
    (folder / file).unlink()

    says = (f"The backup in {folder} is damaged: ", file, "Nothing was restored.")
    products.refuses("backup", "restore", "--run", run_id, code=1, says=says)


def test_one_damaged_backup_of_a_run_keeps_all_of_them_from_being_restored(products: Shop):
    products.write(TO_FLOAT16, TO_FLOAT32)
    run_id = without_index(products, TO_BFLOAT16, TO_FLOAT16)
    rewritten = documents(products)
    (first,) = (products.folder / "redismigrate-backups").rglob(f"{REVISION}/products")
    flip(first / "chunk-000001.npz", 50)

    says = (f"The backup in {first} is damaged: chunk-000001.npz",)
    products.refuses("backup", "restore", "--run", run_id, code=1, says=says)

    assert documents(products) == rewritten


def test_an_unfinished_run_comes_first(products: Shop):
    products.write(TO_FLOAT16)
    kill_before(products, "create_index", "upgrade", "head")
    run_id = str((products.state("run") or {})["id"])

    says = (f"Run {run_id} is unfinished.", "or undo all of it with `redismigrate rollback`.")
    products.refuses("backup", "restore", "--run", run_id, code=7, says=says)


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        ("feed", 1, ("There is no backup of run feed in ", "`redismigrate backup list` shows the runs")),
        ("a1", 2, ("Several runs begin with a1: a1b2c3d4e5f6, a1ffffffffff.", "Give more characters")),
        ("", 2, ("The id of the run is empty.",)),
    ],
    ids=["unknown", "ambiguous", "empty"],
)
def test_a_run_that_is_not_clear_is_refused(products: Shop, given: str, code: int, says: tuple[str, ...]):
    for run_id in ("a1b2c3d4e5f6", "a1ffffffffff"):
        write_backup(products.folder / "redismigrate-backups", run=run_id)

    products.refuses("backup", "restore", "--run", given, code=code, says=says)


def test_a_run_has_to_be_named(products: Shop):
    result = products.run("backup", "restore")

    assert result.code == 2
    assert "Missing option '--run'" in result.err


def test_a_backup_that_does_not_say_what_was_rewritten_is_refused(products: Shop):
    write_backup(products.folder / "redismigrate-backups", run="a1b2c3d4e5f6")

    says = ("The backup in ", "manifest.json does not say what was rewritten.")
    products.refuses("backup", "restore", "--run", "a1b2c3d4e5f6", code=1, says=says)


# --- what is told -------------------------------------------------------------------------------------------


def test_the_result_is_one_json_document(products: Shop):
    run_id = without_index(products)
    products.client.hset("p:3", "embedding", vector(77, "float16"))

    result = products.run("backup", "restore", "--run", run_id, "--json")

    assert result.json == {
        "folder": str(products.folder / "redismigrate-backups"),
        "run": run_id,
        "backups": [
            {
                "revision": REVISION,
                "index": "products",
                "restored": PRODUCTS - 1,
                "left_count": 1,
                "left": [{"key": "p:3", "reason": "the application has rewritten it since; left as it is"}],
            }
        ],
    }


def test_a_key_that_is_no_text_is_told_in_base64(products: Shop):
    products.client.hset(b"p:\xff", mapping={"title": "odd", "embedding": vector(1)})
    run_id = without_index(products)
    products.client.hset(b"p:\xff", "embedding", vector(77, "float16"))

    assert restored(products, run_id)["left"][0]["key"] == {"base64": "cDr/"}


def test_quiet_tells_nothing(products: Shop):
    run_id = without_index(products)

    result = products.run("-q", "backup", "restore", "--run", run_id)

    assert (result.code, result.out, result.err) == (0, "", "")
