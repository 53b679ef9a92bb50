"""Operations as values: their effect on a catalog, their reverse, and what is stored of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planned_revisions import SERVER as OLDER_SERVER
from schema_strategies import field_names, redis_text, schemas

from redismigrate.errors import SchemaError, ScriptError
from redismigrate.execution.run import Baseline, Run, begin
from redismigrate.operations.changes import (
    AddField,
    AlterField,
    ChangePrefix,
    DropField,
    RenameField,
    RenameTo,
    SetOptions,
    as_recorded,
)
from redismigrate.operations.differing import changes_between
from redismigrate.operations.functions import collect_functions
from redismigrate.operations.operation_types import (
    ChangeIndex,
    CreateAlias,
    CreateIndex,
    DropAlias,
    DropIndex,
    Irreversible,
    RunFunction,
    SetSynonyms,
)
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.operations.recorder import Operations
from redismigrate.operations.script_calls import record
from redismigrate.planning.chain import plan_chain
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.plan import Plan
from redismigrate.planning.plan_file import is_same_plan, plan_to_json, read_plan, write_plan
from redismigrate.planning.plan_in_progress import PlanOptions
from redismigrate.schema import (
    GeoField,
    GeoShapeField,
    IndexSchema,
    NumericField,
    TagField,
    TextField,
    VectorField,
)
from redismigrate.schema.compare import canonical
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.schema.redisvl import field_from_redisvl
from redismigrate.state.keys import StateKeys
from redismigrate.state.stored_documents import catalog_content, catalog_from_content

PRODUCTS = IndexSchema(
    name="products",
    prefixes=("p:",),
    fields=(
        TextField(name="title"),
        TagField(name="brand"),
        VectorField(name="embedding", algorithm="HNSW", dims=4, m=32),
    ),
)
SERVER = replace(OLDER_SERVER, redis_version="8.2.0", search_version=(8, 2, 0))

# Fields to take attributes from.
DONORS = (
    TextField(name="a", weight=2.5, no_stem=True, phonetic_matcher="dm:en", sortable=True, unf=True),
    TextField(name="b", withsuffixtrie=True, index_empty=True, index_missing=True),
    TagField(name="a", separator=";", case_sensitive=True, sortable=True),
    TagField(name="b", index_empty=True, no_index=True),
    NumericField(name="a", sortable=True, no_index=True),
    GeoField(name="a", index_missing=True),
    GeoShapeField(name="a", coord_system="FLAT"),
    VectorField(name="a", algorithm="FLAT", dims=3, datatype="INT8", block_size=7, initial_cap=5),
    VectorField(name="b", algorithm="HNSW", dims=8, m=7, ef_construction=9, ef_runtime=11, epsilon=0.5),
    VectorField(name="c", algorithm="SVS-VAMANA", dims=9, compression="LeanVec4x8", reduce=4, epsilon=0.25),
)

# A history of several generated schemas costs more than other examples do.
fewer = settings(max_examples=settings.default.max_examples // 2)
some_terms = st.lists(redis_text, max_size=3).map(tuple)


def canonical_catalog(catalog):
    """What has to be equal: fields may come in another order, and defaults may be said or not."""
    return {
        served: (
            canonical(definition.schema),
            definition.physical,
            definition.aliases,
            definition.synonyms,
        )
        for served, definition in catalog.items()
    }


@st.composite
def catalogs(draw):
    """Up to three indexes with aliases and synonyms."""
    catalog = Catalog()
    for schema in draw(st.lists(schemas(), min_size=1, max_size=3, unique_by=lambda schema: schema.name)):
        if catalog.alias_target(schema.name) is not None:
            continue
        catalog = CreateIndex(schema).apply(catalog)
        for alias in draw(st.lists(redis_text, max_size=2)):
            if alias not in catalog and catalog.alias_target(alias) is None:
                catalog = CreateAlias(alias, schema.name).apply(catalog)
        for group in draw(st.lists(redis_text, max_size=2)):
            catalog = SetSynonyms(schema.name, group, draw(some_terms)).apply(catalog)
    return catalog


@st.composite
def index_changes(draw, schema):
    """Changes of one index that can be carried out one after the other."""
    changes = []
    other = draw(schemas().filter(lambda other: other.storage_type == schema.storage_type))
    candidates = [AddField(field) for field in other.fields]
    candidates += [DropField(field.name) for field in schema.fields]
    candidates += [RenameTo(other.name), SetOptions(draw(options_of(other)))]
    candidates += [RenameField(field.name, draw(field_names(schema.storage_type))) for field in schema.fields]
    candidates += [ChangePrefix(prefix, draw(redis_text)) for prefix in schema.prefixes]
    for field in schema.fields:
        donor = draw(st.sampled_from([donor for donor in DONORS if donor.type == field.type]))
        names = sorted(type(field).model_fields.keys() - {"name", "type", "path"})
        chosen = draw(st.lists(st.sampled_from(names), unique=True, min_size=1, max_size=4))
        candidates += 2 * [AlterField(field.name, {name: getattr(donor, name) for name in chosen})]
    for change in draw(st.lists(st.sampled_from(candidates), max_size=6)):
        try:
            after = change.apply(schema)
        except SchemaError:
            continue
        changes.append(as_recorded(change, after))
        schema = after
    return tuple(changes)


def options_of(schema):
    names = [name for name in IndexSchema.model_fields if name not in {"name", "fields", "storage_type"}]
    return st.lists(st.sampled_from(names), unique=True, min_size=1).map(
        lambda chosen: {name: getattr(schema, name) for name in chosen}
    )


@st.composite
def operations(draw, catalog):
    """One operation that the catalog admits; None when the drawn one is not admitted."""
    name = draw(st.sampled_from(sorted(catalog))) if catalog else ""
    aliases = sorted(alias for definition in catalog.values() for alias in definition.aliases)
    groups = sorted(group for definition in catalog.values() for group in definition.synonyms)
    opaque = st.builds(RunFunction, redis_text, st.integers(0, 5), st.booleans()) | redis_text.map(
        Irreversible
    )
    choices = [schemas().map(CreateIndex), opaque]
    if name:
        alias = redis_text | st.sampled_from(aliases) if aliases else redis_text
        group = redis_text | st.sampled_from(groups) if groups else redis_text
        change = index_changes(catalog[name].schema).map(lambda changes: ChangeIndex(name, changes))
        choices += [
            *4 * [change],
            st.just(DropIndex(name)),
            st.builds(CreateAlias, alias, st.just(name)),
            st.builds(SetSynonyms, st.just(name), group, some_terms),
        ]
    if aliases:
        choices.append(st.sampled_from(aliases).map(DropAlias))
    operation = draw(draw(st.sampled_from(choices)))
    try:
        operation.apply(catalog)
    except SchemaError:
        return None
    return operation


@st.composite
def histories(draw):
    """A catalog, and operations that can be applied to it one after the other."""
    catalog = start = draw(catalogs())
    done = []
    for _ in range(draw(st.integers(1, 5))):
        operation = draw(operations(catalog))
        if operation is not None:
            done.append(operation)
            catalog = operation.apply(catalog)
    return start, tuple(done)


@given(histories())
def test_an_operation_and_its_reverse_give_the_same_catalog_again(history):
    catalog, done = history
    for operation in done:
        after = operation.apply(catalog)
        back = after
        for reverse in operation.reverse(catalog):
            back = reverse.apply(back)
        assert canonical_catalog(back) == canonical_catalog(catalog)
        catalog = after


@given(histories())
def test_a_whole_history_goes_back_by_the_reverses_in_reverse_order(history):
    start, done = history
    catalog, reverses = start, []
    for operation in done:
        reverses = [*operation.reverse(catalog), *reverses]
        catalog = operation.apply(catalog)
    for reverse in reverses:
        catalog = reverse.apply(catalog)
    assert canonical_catalog(catalog) == canonical_catalog(start)


def recorded_revision(start, done, direction="upgrade"):
    return RecordedRevision(
        revision="8f3a1c9b2d4e",
        direction=direction,
        message="füll \udcff",
        parents=("1b2c3d4e5f60",),
        depends_on=(),
        sha256="00",
        operations=done,
        adopted=dict(start),
    )


def planned(start, done):
    recorded = recorded_revision(start, done)
    return plan_chain(
        [recorded], Catalog(), Inventory("shop", SERVER), PlanOptions(), direction="upgrade", target="head"
    )


def through_json(document):
    return json.loads(json.dumps(document).encode())


@given(histories())
@fewer
def test_a_run_is_the_same_after_it_was_stored(history):
    start, done = history
    plan = planned(start, done)
    run = begin(
        "upgrade", "head", plan.revisions[0], plan.digest, (recorded_revision(start, done),), {"a": 1}
    )
    run = run.with_changes(
        failure="key p:\udcff",
        undo=plan.revisions[0].steps,
        baselines=dict.fromkeys(start, Baseline(documents=3)),
    )

    stored = Run.from_content(through_json(run.content()), StateKeys("shop"))

    assert stored == run


@given(histories())
@fewer
def test_a_plan_is_the_same_after_it_was_stored(history):
    plan = planned(*history)

    stored = Plan.model_validate(through_json(plan.model_dump()))

    assert stored == plan


@given(histories())
@fewer
def test_the_digest_of_a_plan_does_not_depend_on_whether_its_operations_were_stored(history):
    start, done = history
    stored = Plan.model_validate(through_json(planned(start, done).model_dump())).revisions[0].recorded

    assert planned(start, stored.operations).digest == planned(start, done).digest


@given(history=histories())
@fewer
def test_a_plan_can_be_written_and_its_digest_read_again(tmp_path_factory, history):
    file = tmp_path_factory.getbasetemp() / "plan.yaml"
    plan = planned(*history)

    write_plan(plan, file)

    assert is_same_plan(read_plan(file), plan)
    assert through_json(plan_to_json(plan))["digest"] == plan.digest


@given(catalogs())
@fewer
def test_the_recorded_indexes_are_the_same_after_they_were_stored(catalog):
    assert catalog_from_content(through_json(catalog_content(catalog)), "key") == catalog


# --- recording ----------------------------------------------------------------------------------------------


def recorded_of(function, catalog=None, live_index=None):
    return record(function, Catalog() if catalog is None else catalog, __file__, live_index)


def changed(**calls):
    """The one change that a block with one call records."""
    op = Operations(CreateIndex(PRODUCTS).apply(Catalog()))
    with op.index("products") as index:
        for name, (arguments, attributes) in calls.items():
            getattr(index, name)(*arguments, **attributes)
    return op.recorded[0].changes[0]


def test_what_is_recorded_does_not_change_with_the_lists_that_a_script_goes_on_to_use():
    prefixes, terms = ["a:"], ["shoe"]
    op = Operations(CreateIndex(PRODUCTS).apply(Catalog()))
    op.set_synonyms("products", "shoes", terms)
    with op.index("products") as index:
        index.set_options(prefixes=prefixes)
    prefixes.append("b:")
    terms.append("boot")

    synonyms, change = op.recorded

    assert synonyms.terms == ("shoe",)
    assert change.changes[0].options == {"prefixes": ["a:"]}


def test_values_are_recorded_as_the_schema_has_them():
    change = changed(alter_field=(("embedding",), {"algorithm": "hnsw", "distance_metric": "ip", "m": "8"}))
    assert change.attributes == {"algorithm": "HNSW", "distance_metric": "IP", "m": 8}
    change = changed(set_options=((), {"stopwords": (word for word in ("a", "b")), "language": "German"}))
    assert change.options == {"stopwords": ["a", "b"], "language": "german"}


def test_a_change_of_the_algorithm_gives_its_parameters_back_when_it_is_reversed():
    catalog = CreateIndex(PRODUCTS).apply(Catalog())
    change = ChangeIndex("products", (AlterField("embedding", {"algorithm": "FLAT"}),))

    (reverse,) = change.reverse(catalog)

    assert change.apply(catalog)["products"].schema.field("embedding").m is None
    assert reverse.apply(change.apply(catalog)) == catalog


def test_an_alias_that_moves_goes_back_to_the_index_that_had_it():
    catalog = CreateIndex(PRODUCTS).apply(CreateIndex(PRODUCTS.renamed("goods")).apply(Catalog()))
    catalog = CreateAlias("shop", "goods").apply(catalog)

    (reverse,) = CreateAlias("shop", "products").reverse(catalog)

    assert reverse == CreateAlias("shop", "goods")


def test_an_index_without_fields_is_neither_created_nor_left():
    catalog = CreateIndex(PRODUCTS).apply(Catalog())
    with pytest.raises(SchemaError, match="Index goods has no fields"):
        CreateIndex(IndexSchema(name="goods", fields=())).apply(catalog)
    change = ChangeIndex("products", tuple(DropField(field.name) for field in PRODUCTS.fields))
    with pytest.raises(SchemaError, match="Index products has no fields"):
        change.apply(catalog)


def test_a_block_that_raises_records_nothing():
    op = Operations(CreateIndex(PRODUCTS).apply(Catalog()))

    def leave_in_the_middle():
        with op.index("products") as index:
            index.drop_field("brand")
            raise ValueError("no more paper")

    with pytest.raises(ValueError, match="no more paper"):
        leave_in_the_middle()
    assert op.recorded == ()


@pytest.mark.parametrize("moment", ["without a block", "after its block"])
def test_a_change_outside_of_its_block_is_refused_since_nothing_would_record_it(moment):
    op = Operations(CreateIndex(PRODUCTS).apply(Catalog()))
    index = op.index("products")
    if moment == "after its block":
        with index:
            index.drop_field("brand")
    with pytest.raises(SchemaError, match=r"Write `with op\.index\('products'\) as index:` and put"):
        index.drop_field("title")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda op: op.create_alias("", "products"), "alias '': is empty."),
        (lambda op: op.create_alias(5, "products"), r"alias 5: should be text, got 5 \(int\)"),
        (lambda op: op.create_alias("a\0b", "products"), "holds a NUL byte, where Redis Search would cut it"),
        (lambda op: op.create_alias("a\nb", "products"), "holds a line break"),
        (lambda op: op.set_synonyms("products", "", ["a"]), "synonym group '': is empty."),
        (lambda op: op.set_synonyms("products", "a", ["b", 5]), "synonym 5: should be text"),
        (lambda op: op.set_synonyms("products", "a", [""]), "synonym '': is empty."),
        (lambda op: op.set_synonyms("products", "a", "b"), "Synonym terms are a list, not one string."),
    ],
)
def test_a_name_that_the_server_would_take_for_another_is_refused(call, says):
    with pytest.raises(SchemaError, match=says):
        call(Operations(CreateIndex(PRODUCTS).apply(Catalog())))


def test_changes_can_look_at_the_schema_that_they_make():
    op = Operations(CreateIndex(PRODUCTS).apply(Catalog()))
    with op.index("products") as index:
        for field in index.schema.fields:
            if field.type == "tag":
                index.drop_field(field.name)
        assert [field.name for field in index.schema.fields] == ["title", "embedding"]


def test_indexes_are_those_of_this_point_of_the_history():
    op = Operations(Catalog())
    assert op.indexes() == ()
    op.create_index(PRODUCTS.renamed("products_de"))
    op.create_index(PRODUCTS.renamed("products_fr"))
    op.create_index(PRODUCTS.renamed("articles"))
    assert op.indexes("products_*") == ("products_de", "products_fr")
    op.drop_index("products_de")
    assert op.indexes() == ("articles", "products_fr")


def test_an_index_that_no_revision_created_is_read_from_the_server_once():
    asked = []

    def live_index(name):
        asked.append(name)
        return IndexDefinition.plain(PRODUCTS)

    op = recorded_of(
        lambda op: (op.set_synonyms("products", "a", ["b"]), op.create_alias("shop", "products")),
        live_index=live_index,
    )

    assert asked == ["products"]
    assert list(op.adopted) == ["products"]


def test_a_history_with_an_index_of_the_application_is_not_replayed_without_a_server():
    with pytest.raises(
        ScriptError, match="No revision creates index products, so this history can't be replayed"
    ):
        recorded_of(lambda op: op.drop_index("products"))


def test_an_error_names_the_line_of_the_script_also_when_a_library_raised_it():
    with pytest.raises(ScriptError, match=r"test_operations\.py:\d+: JSONDecodeError: Expecting value"):
        recorded_of(lambda _: json.loads(""))


def test_a_function_whose_call_would_run_nothing_of_it_is_no_data_migration():
    async def fill(client):
        pass

    for functions in (fill,), (print, fill), (print, lambda client: (yield)):
        with pytest.raises(ScriptError, match="takes no async functions and no generators"):
            recorded_of(lambda op, functions=functions: op.run(*functions))


def test_the_functions_of_a_script_are_found_although_the_indexes_are_others_by_now():
    def upgrade(op):
        op.create_index(PRODUCTS)
        op.drop_alias("no such alias")
        with op.index("goods") as index:
            index.drop_field("nothing")
            index.alter_field("nothing", m=3)
            index.set_options(langage="x")
        op.run(print, repr)
        op.run(str)

    functions = collect_functions(upgrade, CreateIndex(PRODUCTS).apply(Catalog()), __file__)

    assert functions == ((print, repr), (str, None))


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (DropIndex("products"), "drop index products"),
        (DropIndex("products", delete_documents=True), "drop index products and its documents"),
        (CreateAlias("shop", "products"), "create alias shop of products"),
        (DropAlias("shop"), "drop alias shop"),
        (SetSynonyms("products", "a", ("b", "c")), "set synonyms a of products: b, c"),
        (SetSynonyms("products", "a", ()), "set synonyms a of products: none"),
        (RunFunction("fill", 0, has_down=False), "run fill"),
        (Irreversible("no way"), "irreversible: no way"),
        (
            ChangeIndex("products", (AddField(TagField(name="c")), DropField("d"), RenameTo("goods"))),
            "change index products: add tag field c; drop field d; rename to goods",
        ),
        (
            ChangeIndex("p", (AlterField("v", {"m": 8}), SetOptions({"language": "german"}))),
            "change index p: alter field v: m=8; set language='german'",
        ),
    ],
)
def test_an_operation_says_what_it_does(operation, words):
    assert str(operation) == words


FLAT = IndexSchema(name="p", fields=(VectorField(name="v", algorithm="FLAT", dims=4),))
REDISVL_SVS = {
    "graph_max_degree": 40,
    "construction_window_size": 250,
    "search_window_size": 20,
    "epsilon": 0.01,
}


def altered_to_svs(schema, **attributes):
    op = Operations(CreateIndex(schema).apply(Catalog()))
    with op.index(schema.name) as index:
        index.alter_field("v", algorithm="svs-vamana", **attributes)
    (change,) = op.recorded
    return change


def test_a_field_that_becomes_svs_vamana_gets_what_create_index_gives_one():
    layout = {"algorithm": "svs-vamana", "dims": 4}
    created = field_from_redisvl({"name": "v", "type": "vector", "attrs": layout})

    change = altered_to_svs(FLAT)

    assert change.changes[0].attributes == {"algorithm": "SVS-VAMANA", **REDISVL_SVS}
    assert change.apply(CreateIndex(FLAT).apply(Catalog()))["p"].schema.fields == (created,)


def test_what_a_script_says_about_svs_vamana_and_what_the_field_has_stand():
    hnsw = IndexSchema(name="p", fields=(VectorField(name="v", algorithm="HNSW", dims=4, epsilon=0.2),))

    change = altered_to_svs(hnsw, graph_max_degree=16, search_window_size=None)

    (field,) = change.apply(CreateIndex(hnsw).apply(Catalog()))["p"].schema.fields
    assert (field.graph_max_degree, field.construction_window_size) == (16, 250)
    assert (field.search_window_size, field.epsilon) == (None, 0.2)


@pytest.mark.parametrize("parameters", [{}, REDISVL_SVS, {"graph_max_degree": 24}])
def test_the_way_back_to_svs_vamana_says_all_its_parameters(parameters):
    before = IndexSchema(
        name="p", fields=(VectorField(name="v", algorithm="SVS-VAMANA", dims=4, **parameters),)
    )
    catalog = CreateIndex(before).apply(Catalog())
    change = ChangeIndex("p", (AlterField("v", {"algorithm": "FLAT"}),))
    flat = change.apply(catalog)
    (reverse,) = change.reverse(catalog)

    # As a script says it, and as it is found by comparing schemas.
    for found in (reverse.changes[0], *changes_between(flat["p"].schema, before)):
        op = Operations(flat)
        with op.index("p") as index:
            index.alter_field("v", **found.attributes)
        assert op.recorded[0].apply(flat) == catalog
