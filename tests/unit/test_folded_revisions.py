"""Several revisions as one: the same indexes and documents as one by one, or a reason why not."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned_revisions import index, server, vector

from redismigrate.documents.batch import Batch
from redismigrate.documents.conversion import transform_of
from redismigrate.errors import SchemaError
from redismigrate.operations.operation_types import ChangeIndex, RunFunction
from redismigrate.operations.query_checks import with_query_checks
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.operations.recorder import Operations
from redismigrate.planning.chain import plan_chain
from redismigrate.planning.folding import fold
from redismigrate.planning.folds import ScriptsAround, folds_of, what_keeps_from_folding
from redismigrate.planning.plan import RevisionPlan
from redismigrate.planning.plan_in_progress import PlanOptions
from redismigrate.planning.rewrites import rewrite_of
from redismigrate.schema import NumericField, TagField
from redismigrate.schema.definition import Catalog

PRODUCTS = index("products", TagField(name="color"), NumericField(name="price"), vector(dims=2))
ORDERS = index("orders", TagField(name="color"), vector(dims=2), prefixes=("o:",))
SHOP = Catalog({"products": PRODUCTS, "orders": ORDERS})


def recorded(*scripts, catalog=SHOP, direction="upgrade"):
    """What scripts record, each in a revision of its own: r1, r2 and so on."""
    found = []
    for number, script in enumerate(scripts, 1):
        op = Operations(catalog)
        script(op)
        parents = (f"r{number - 1}",) if number > 1 else ()
        found.append(RecordedRevision(f"r{number}", direction, f"m{number}", parents, (), "", op.recorded))
        catalog = op.catalog
    return tuple(found)


def on(name, *calls):
    """A script that calls methods of one index: each the method, and its arguments."""

    def script(op):
        with op.index(name) as changes:
            for method, *arguments in calls:
                values = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
                getattr(changes, method)(*arguments, **values)

    return script


def products(*calls):
    return on("products", *calls)


def ids(folds):
    return [tuple(member.revision for member in item.members) for item in folds.recorded]


M_8 = products(("alter_field", "embedding", {"algorithm": "hnsw", "m": 8}))
M_16 = products(("alter_field", "embedding", {"algorithm": "hnsw", "m": 16}))
GERMAN = products(("set_options", {"language": "german"}))
BRAND = products(("add_field", TagField(name="brand")))
DROP_BRAND = products(("drop_field", "brand"))
TO_VECTOR = products(("rename_field", "embedding", "vector"))
TO_HUE = products(("rename_field", "color", "hue"))
TO_COLOR = products(("rename_field", "hue", "color"))
OTHER_KEYS = products(("change_prefix", "p:", "q:"))
OTHER_PREFIX = products(("set_options", {"prefixes": ("p:", "z:")}))


def to(datatype, name="embedding"):
    return products(("alter_field", name, {"datatype": datatype}))


class Refused(Exception):
    """The server would refuse the model's documents: something is where a value is to go."""


def rewritten(documents, definition, rewrite):
    """What one rewrite makes of documents: key -> field -> bytes."""
    found = {}
    for key, document in documents.items():
        if not any(key.startswith(prefix) for prefix in definition.schema.prefixes):
            found[key] = document
            continue
        batch = Batch([key.encode()], {path: [document.get(path)] for path in rewrite.recoded_paths})
        transformed = transform_of(rewrite.recodings, {})(batch)
        if transformed.failures:
            raise Refused
        new = document | {path: column[0] for path, column in transformed.columns.items() if column[0]}
        for rename in rewrite.renames:
            if rename.new in new and rename.old in new:
                raise Refused
            new = {(rename.new if path == rename.old else path): value for path, value in new.items()}
        moved = rewrite.key_after(key.encode()).decode()
        if moved in found or (moved != key and moved in documents):
            raise Refused
        found[moved] = new
    return found


def carried_out(item, catalog, documents):
    """The indexes and documents after a revision."""
    for operation in item.operations:
        before, catalog = catalog, operation.apply(catalog)
        old, new = before[operation.name], catalog[operation.name_after]
        documents = rewritten(documents, old, rewrite_of(old, new, operation.changes))
    return catalog, documents


def some_documents(seed=0):
    """Documents that may lack what an index reads, and have what none reads, under any keys."""
    numbers, choose = np.random.default_rng(seed), random.Random(seed)  # noqa: S311 - the same for a seed
    found = {}
    for prefix in ("p:", "o:", "q:", "z:", "elsewhere:"):
        for number in range(4):
            values = {
                name: name.encode() for name in ("color", "price", "size", "n1") if choose.random() < 0.6
            }
            vector = {"embedding": numbers.normal(size=2).astype("<f4").tobytes()}
            # The keys differ, so that documents that move don't meet others.
            found[f"{prefix}{prefix}{number}"] = values | (vector if choose.random() < 0.8 else {})
    return found


def require_same(item, catalog, documents):
    """Fail where a fold leaves something else than its revisions one by one."""
    at_once = carried_out(item, catalog, documents)
    one_by_one = catalog, documents
    for member in item.members:
        one_by_one = carried_out(member, *one_by_one)
    assert at_once == one_by_one


EXACT = {
    "options and parameters": (M_8, GERMAN, M_16),
    "a field that comes and goes": (BRAND, GERMAN, DROP_BRAND),
    "a change that is taken back": (M_8, to("float32"), products(("alter_field", "embedding", {"m": 16}))),
    "renamed, and indexed otherwise": (TO_HUE, products(("alter_field", "hue", {"separator": "|"}))),
    "two fields are renamed": (TO_HUE, TO_VECTOR),
    "re-encoded, then renamed": (to("float16"), TO_VECTOR),
    "re-encoded by way of more digits": (to("float64"), to("float16")),
    "re-encoded, renamed, moved": (to("float16"), TO_VECTOR, TO_HUE, OTHER_KEYS),
    "another name": (products(("rename_to", "goods")), on("goods", ("set_options", {"language": "german"}))),
}


@pytest.mark.parametrize("scripts", EXACT.values(), ids=EXACT.keys())
def test_they_are_one_where_one_build_leaves_the_same(scripts):
    found = folds_of(recorded(*scripts), SHOP)
    assert (len(found.recorded), found.remarks) == (1, ())
    assert found.recorded[0].revision == f"r{len(scripts)}"
    require_same(found.recorded[0], SHOP, some_documents())


INEXACT = {
    "renamed twice": (
        (TO_HUE, products(("rename_field", "hue", "tone"))),
        "color moves to hue before what is at hue is rewritten, which is something else where",
    ),
    "renamed there and back": ((TO_HUE, TO_COLOR), "color moves to hue before what is at hue is rewritten"),
    "renamed, then re-encoded": ((TO_VECTOR, to("float16", "vector")), "embedding moves to vector before"),
    "more digits and back": ((to("float64"), to("float32")), "which one conversion would not do alike"),
    "moved twice": (
        (OTHER_KEYS, products(("change_prefix", "q:", "x:"))),
        "revision r2 rewrites what it finds under the keys to which revision r1 moves documents",
    ),
    "moved, then re-encoded": ((OTHER_KEYS, to("float16")), "under the keys to which revision r1 moves"),
    "numbers are lost in between": (
        (to("float16"), to("float32")),
        "embedding is re-encoded from FLOAT32 to FLOAT16 and then to FLOAT32",
    ),
    "integers of other numbers": (
        (to("float64"), to("int8")),
        "re-encoded from FLOAT32 to FLOAT64 and then to INT8",
    ),
    "integers by another metric": (
        (to("int8"), products(("alter_field", "embedding", {"distance_metric": "L2"}))),
        "documents of index products would not become the same",
    ),
    "a field that the first one adds is renamed": (
        (
            products(("add_field", TagField(name="size"))),
            products(("rename_field", "size", "fit")),
        ),
        "one by one fit is size, at once they stay",
    ),
    "a field that is renamed goes": (
        (TO_HUE, products(("drop_field", "hue"))),
        "one by one hue is color, at once they stay",
    ),
    "more documents before they are re-encoded": (
        (OTHER_PREFIX, to("float16")),
        "revision r1 changes which documents index products has",
    ),
    "fewer keys than are moved": (
        (OTHER_KEYS, products(("set_options", {"prefixes": ("x:",)}))),
        "revision r2 changes which documents",
    ),
    "what the filter names": (
        (
            products(("set_options", {"filter": "@price>1"})),
            to("float16"),
        ),
        "revision r1 changes which documents",
    ),
}


@pytest.mark.parametrize(("scripts", "reason"), INEXACT.values(), ids=INEXACT.keys())
def test_they_stay_apart_where_one_build_would_leave_something_else(scripts, reason):
    found = folds_of(recorded(*scripts), SHOP)
    assert ids(found) == [("r1",), ("r2",)]
    (remark,) = found.remarks
    assert remark.startswith("revision r2 is not folded with those before it: ")
    assert reason in remark


def test_indexes_that_share_documents_which_are_rewritten_stay_apart():
    catalog = SHOP.with_definition(index("orders", vector(dims=2), prefixes=("p:1",)))
    both = recorded(
        to("float16"), on("orders", ("alter_field", "embedding", {"datatype": "float16"})), catalog=catalog
    )
    with pytest.raises(ValueError, match="indexes products and orders share documents"):
        fold(both, catalog)
    fold(both, SHOP)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (lambda op: op.run(print), "it calls op.run(print)"),
        (lambda op: op.irreversible("no more"), "it is irreversible: no more"),
        (lambda op: op.assume_exclusive("at night"), "nobody else writes meanwhile, for itself alone"),
        (
            lambda op: op.create_alias("live", "products"),
            "something else than to change indexes: create alias",
        ),
        (lambda op: op.set_synonyms("products", "g", ["a"]), "something else than to change indexes"),
        (lambda op: op.drop_index("orders"), "something else than to change indexes: drop index orders"),
    ],
)
def test_what_does_more_than_to_change_indexes_stands_for_itself(script, reason):
    found = folds_of(recorded(M_8, GERMAN, script, M_16, BRAND), SHOP)
    assert ids(found) == [("r1", "r2"), ("r3",), ("r4", "r5")]
    assert found.remarks[0].startswith("revision r3 is not folded: ")
    assert reason in found.remarks[0]


def test_a_revision_whose_downgrade_says_that_there_is_no_way_back_stands_for_itself():
    around = ScriptsAround(no_way_back={"r2": "the prices are gone"})
    found = folds_of(recorded(M_8, GERMAN, BRAND), SHOP, around)
    assert ids(found) == [("r1",), ("r2",), ("r3",)]
    assert found.remarks == ("revision r2 is not folded: its downgrade is irreversible: the prices are gone",)


def test_what_a_downgrade_undoes_of_functions_and_gives_up_stands_for_itself():
    (item,) = recorded(M_8, direction="downgrade")
    function = RunFunction("fill", 0, has_down=True)
    assert what_keeps_from_folding(replace(item, undone_functions=(function,)), ScriptsAround()) == (
        "it undoes op.run(fill)",
    )
    given_up = replace(item, adopted={"products": PRODUCTS})
    assert what_keeps_from_folding(given_up, ScriptsAround()) == ("it gives up products",)


def test_what_depends_on_others_is_the_first_of_a_fold():
    one, two, three = recorded(M_8, GERMAN, BRAND)
    found = folds_of((one, replace(two, depends_on=("outside",)), three), SHOP)
    assert ids(found) == [("r1",), ("r2", "r3")]
    assert found.remarks == ("revision r2 is not folded with those before it: it depends on outside",)
    assert ids(folds_of((one, replace(two, depends_on=("r1",)), three), SHOP)) == [("r1", "r2", "r3")]


def test_what_others_depend_on_is_the_last_of_a_fold():
    around = ScriptsAround(depending={"r2": ("outside", "r3")})
    found = folds_of(recorded(M_8, GERMAN, BRAND), SHOP, around)
    assert ids(found) == [("r1", "r2"), ("r3",)]
    assert found.remarks == ("revision r2 is not folded with those after it: outside depends on it",)


def test_on_the_way_back_dependencies_count_as_on_the_way_there():
    # r3, r2, r1 of the history: the first that goes is the last that came.
    down = recorded(M_8, GERMAN, BRAND, direction="downgrade")
    assert ids(folds_of(down, SHOP, ScriptsAround(depending={"r1": ("outside",)}))) == [("r1", "r2", "r3")]
    assert ids(folds_of(down, SHOP, ScriptsAround(depending={"r2": ("outside",)}))) == [("r1",), ("r2", "r3")]
    needing = [replace(item, depends_on=("outside",) if item.revision == "r2" else ()) for item in down]
    assert ids(folds_of(needing, SHOP)) == [("r1", "r2"), ("r3",)]


def test_indexes_that_nothing_ties_together_are_folds_of_their_own():
    orders = on("orders", ("set_options", {"language": "german"}))
    more = on("orders", ("drop_field", "color"))
    assert ids(folds_of(recorded(M_8, GERMAN, orders, more), SHOP)) == [("r1", "r2"), ("r3", "r4")]
    assert ids(folds_of(recorded(M_8, orders, GERMAN), SHOP)) == [("r1", "r2", "r3")]
    assert ids(folds_of(recorded(M_8, orders), SHOP)) == [("r1",), ("r2",)]
    assert ids(folds_of(recorded(M_8, lambda op: None, GERMAN), SHOP)) == [("r1", "r2", "r3")]


def test_names_that_change_hands_are_folded_only_where_the_order_does_not_matter():
    there, back, last = (
        products(("rename_to", "spare")),
        on("orders", ("rename_to", "products")),
        on("spare", ("rename_to", "orders")),
    )
    found = folds_of(recorded(there, back, last), SHOP)
    assert [len(item.members) for item in found.recorded] == [1, 1, 1]
    assert "orders" in found.remarks[0]


def test_originals_come_back_alone_where_the_one_backup_has_them_as_they_were_met():
    def alone(*scripts):
        return fold(recorded(*scripts), SHOP).restorable_alone

    assert alone(GERMAN, to("float16"), BRAND) == ("r1", "r2", "r3")
    assert alone(GERMAN, to("float16"), TO_VECTOR) == ("r1", "r2", "r3")
    assert alone(to("float64"), to("float16")) == ("r1",)
    assert alone(GERMAN, to("float16"), OTHER_KEYS) == ("r1", "r3")


def test_the_plan_of_a_fold_builds_once_and_tells_what_it_saves():
    hnsw = Catalog({"products": index("products", vector(dims=2, algorithm="HNSW"), TagField(name="color"))})
    scripts = recorded(M_8, GERMAN, M_16, catalog=hnsw)
    found = folds_of(scripts, hnsw)
    inventory = server(*hnsw.values())

    def plan(items):
        return plan_chain(items, hnsw, inventory, PlanOptions(), direction="upgrade", target="head")

    at_once, one_by_one = plan(found.recorded), plan(scripts)
    saving = at_once.savings["r3"]
    assert (saving.builds, saving.builds_one_by_one) == (1, 3)
    assert str(saving).startswith("1 build instead of 3")
    assert [item.ids for item in at_once.revisions] == [("r1", "r2", "r3")]
    kinds = [step.kind for step in at_once.revisions[0].steps]
    assert kinds.count("record_fold") == kinds.count("create_index") == 1
    assert at_once.digest != one_by_one.digest
    assert (one_by_one.savings, len(one_by_one.revisions)) == ({}, 3)


def test_a_fold_that_can_not_run_is_planned_one_by_one_and_says_why():
    hnsw = Catalog({"products": index("products", vector(dims=2, algorithm="HNSW"))})
    inventory = replace(server(*hnsw.values()), owners={"products": "other"})
    scripts = recorded(M_8, GERMAN, catalog=hnsw)
    options = PlanOptions(strategy="alter")
    made = plan_chain(
        folds_of(scripts, hnsw).recorded, hnsw, inventory, options, direction="upgrade", target="head"
    )
    assert [item.ids for item in made.revisions] == [("r1",), ("r2",)]
    assert any(warning.startswith("revisions r1, r2 are not folded: ") for warning in made.warnings)


def test_a_revision_for_itself_is_stored_as_by_versions_that_knew_no_folds():
    one, two = recorded(M_8, GERMAN)
    stored = RevisionPlan(recorded=one, steps=()).model_dump()["recorded"]
    assert "folded" not in stored
    assert "restorable_alone" not in stored
    plan = RevisionPlan(recorded=fold((one, two), SHOP), steps=())
    assert RevisionPlan.model_validate(plan.model_dump()) == plan


NAMES = ("color", "price", "size", "embedding", "n1", "n2")


def random_call(rng, schema):
    """A change that the index can have, more often than not."""
    names = [field.name for field in schema.fields]
    fresh = rng.choice(["color", "price", "size", "n1", "n2"])
    return rng.choice(
        [
            ("add_field", TagField(name=rng.choice(["color", "size", "n1"]))),
            ("drop_field", rng.choice(names)),
            ("rename_field", rng.choice(names), fresh),
            ("rename_field", "embedding", "n1"),
            ("change_prefix", rng.choice(schema.prefixes), rng.choice(["p:", "q:", "r:"])),
            *(
                ("alter_field", name, {"datatype": rng.choice(["float16", "float32", "float64"])})
                for name in names
                if schema.field(name).type == "vector"
            ),
            ("set_options", {"language": rng.choice(["german", "french"])}),
            ("set_options", {"prefixes": (*schema.prefixes, "z:")}),
            ("rename_to", rng.choice(["products", "goods"])),
        ]
    )


def random_revisions(rng):
    """Some revisions, one after the other, and the indexes after them."""
    items, catalog = [], SHOP
    while len(items) < rng.randint(2, 6):
        name = rng.choice([*catalog, "products"])
        if name not in catalog:
            continue
        try:
            op = Operations(catalog)
            schema = catalog[name].schema
            on(name, *(random_call(rng, schema) for _ in range(rng.choice([1, 1, 2]))))(op)
        except SchemaError:
            continue  # it can't be, after what came before
        items.append(RecordedRevision(f"r{len(items)}", "upgrade", "", (), (), "", op.recorded))
        catalog = op.catalog
    return items, catalog


@given(st.integers(0, 2**32))
def test_whatever_is_folded_leaves_what_its_revisions_leave(seed):
    items, catalog = random_revisions(random.Random(seed))  # noqa: S311 - the same for a seed
    folds = folds_of(items, SHOP)
    assert [member for item in folds.recorded for member in item.members] == items
    current, documents = SHOP, some_documents(seed)
    for item in folds.recorded:
        try:
            if item.folded:
                require_same(item, current, documents)
            current, documents = carried_out(item, current, documents)
        except Refused:
            return
    assert current == catalog
    for item in folds.recorded:
        assert all(isinstance(operation, ChangeIndex) for operation in item.operations)


def test_a_fold_has_what_files_of_queries_expect_also_when_it_is_made_again_of_its_members(tmp_path):
    file = tmp_path / "checks.yaml"
    file.write_text('index: goods\nsearch: ["*"]\n')
    (folded,) = folds_of(recorded(M_8, products(("rename_to", "goods"))), SHOP).recorded
    (asked,) = with_query_checks((folded,), SHOP, [file])
    assert [operation.kind for operation in asked.operations] == ["change_index", "expect"]
    assert fold(asked.members, SHOP) == asked
