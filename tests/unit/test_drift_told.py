"""How a server that differs from the record is told: what differs, what mends it, and what is no drift."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned_revisions import catalog, index, live, server, vector
from schema_strategies import schemas

from redismigrate.errors import DriftError
from redismigrate.planning.drift import differences_to, drift_of, drifts_of, require_no_drift
from redismigrate.schema import NumericField, TagField, TextField
from redismigrate.schema.definition import IndexDefinition

COLOR, PRICE = TagField(name="color"), NumericField(name="price")
PRODUCTS = index("products", COLOR, physical="products__1", aliases=("goods",), synonyms={"g": ("a", "b")})


def kinds_of(definition, inventory):
    return [drift.kind for drift in drifts_of(definition, inventory)]


def told(definition, found):
    """How an index differs that is live as another one."""
    inventory = server(definition, live={definition.physical: live(found, physical=definition.physical)})
    return drift_of(definition, inventory)


def test_a_server_as_recorded_shows_nothing():
    assert kinds_of(PRODUCTS, server(PRODUCTS)) == []
    require_no_drift(catalog(PRODUCTS), server(PRODUCTS), ["products"])


@given(schemas())
def test_no_index_differs_from_itself(schema):
    definition = replace(IndexDefinition.plain(schema), physical="another_name")
    assert drift_of(definition, server(definition)) == ()
    assert differences_to(live(definition, has_vector_details=False), definition) == ""


@pytest.mark.parametrize(
    ("fields", "kind", "text"),
    [
        ((COLOR, PRICE), "field_added", "numeric field 'price' is added"),
        ((), "field_dropped", "tag field 'color' is dropped"),
        ((TagField(name="color", sortable=True),), "field_changed", "sortable changes from off to on"),
    ],
)
def test_a_field_that_differs_is_told_from_the_record_to_the_server(fields, kind, text):
    found = replace(PRODUCTS, schema=PRODUCTS.schema.with_fields(fields))
    inventory = server(PRODUCTS, live={"products__1": live(found)})
    assert kinds_of(PRODUCTS, inventory) == [kind]
    assert text in drift_of(PRODUCTS, inventory)[0]


def test_an_option_that_differs_is_drift_and_the_order_of_synonyms_is_none():
    german = replace(PRODUCTS, schema=PRODUCTS.schema.with_options(language="german"))
    assert told(PRODUCTS, german)
    assert told(PRODUCTS, replace(PRODUCTS, synonyms={"g": ("b", "a")})) == ()
    assert told(PRODUCTS, replace(PRODUCTS, synonyms={})) == (
        "synonyms are none instead of {'g': ('a', 'b')}",
    )


def test_synonyms_that_somebody_added_are_told():
    plain = replace(PRODUCTS, synonyms={})
    assert told(plain, PRODUCTS) == ("synonyms are {'g': ('a', 'b')} instead of none",)


def test_synonyms_that_the_server_did_not_tell_are_none_that_are_gone():
    silent = live(PRODUCTS, synonyms={}, has_synonyms=False)
    assert differences_to(silent, PRODUCTS) == ""


def test_parameters_that_the_server_does_not_tell_are_not_missed():
    definition = index("products", vector(algorithm="HNSW", ef_runtime=77))
    other = index("products", vector(algorithm="HNSW", ef_runtime=10))
    assert "ef_runtime" in differences_to(live(other), definition)
    assert differences_to(live(other, has_vector_details=False), definition) == ""


def test_an_index_that_would_delete_its_documents_is_told_although_details_are_missing():
    temporary = replace(PRODUCTS, schema=PRODUCTS.schema.with_options(temporary_seconds=60))
    assert "TEMPORARY" in differences_to(live(temporary, has_vector_details=False), PRODUCTS)
    assert differences_to(live(temporary, has_vector_details=False), temporary) == ""


def test_a_missing_index_is_all_that_is_told():
    gone = server(PRODUCTS, live={}, names=frozenset(), aliases={})
    [drift] = drifts_of(PRODUCTS, gone)
    assert (drift.kind, drift.text) == ("index_missing", "index products__1 does not exist")
    assert drift.remedy == "`redismigrate repair` creates it again"


def test_a_temporary_index_that_is_missing_is_rebuilt_by_name():
    temporary = replace(PRODUCTS, schema=PRODUCTS.schema.with_options(temporary_seconds=60))
    [drift] = drifts_of(temporary, server(live={}))
    assert "may have expired; `redismigrate repair --rebuild products`" in drift.remedy


def test_every_alias_has_to_lead_to_the_index():
    elsewhere = server(PRODUCTS, aliases={"products": "products__1", "goods": "other"})
    assert drift_of(PRODUCTS, elsewhere) == ("alias goods points to other",)
    nowhere = server(PRODUCTS, aliases={"goods": "products__1"})
    assert drift_of(PRODUCTS, nowhere) == ("alias products does not exist",)


def test_an_index_over_an_alias_hides_it_wherever_the_alias_leads():
    hidden = server(PRODUCTS, names=frozenset({"products__1", "goods"}))
    [drift] = drifts_of(PRODUCTS, hidden)
    assert (drift.kind, drift.text) == ("alias_hidden", "an index hides its alias goods")


def test_an_index_is_no_alias_that_hides_itself():
    plain = index("products", COLOR)
    assert kinds_of(plain, server(plain)) == []


def test_differences_of_the_index_are_one_problem_with_one_remedy():
    found = replace(PRODUCTS, schema=PRODUCTS.schema.with_fields((PRICE,)))
    inventory = server(PRODUCTS, live={"products__1": live(found)}, aliases={"products": "products__1"})
    index_problem, alias_problem = drift_of(PRODUCTS, inventory, has_remedies=True)
    assert index_problem.count("repair --rebuild products") == 1
    assert "'color' is dropped" in index_problem
    assert "'price' is added" in index_problem
    assert alias_problem == ("alias goods does not exist; `redismigrate repair` points it to its index")
    assert "repair" not in "".join(drift_of(PRODUCTS, inventory))


def test_planning_on_a_record_that_is_not_true_is_refused_by_name_and_reason():
    gone = server(PRODUCTS, live={})
    with pytest.raises(DriftError) as caught:
        require_no_drift(catalog(PRODUCTS), gone, ["products"])
    assert (
        "products: index products__1 does not exist; `redismigrate repair` creates it" in caught.value.message
    )
    assert "redismigrate stamp" in caught.value.hint


def test_only_what_matters_is_looked_at():
    gone = server(PRODUCTS, live={})
    require_no_drift(catalog(PRODUCTS), gone, ["another", "orders"])


def test_an_index_that_is_only_dropped_may_be_gone_but_not_be_another_one():
    require_no_drift(catalog(PRODUCTS), server(PRODUCTS, live={}), ["products"], frozenset({"products"}))
    found = replace(PRODUCTS, schema=PRODUCTS.schema.with_fields((TextField(name="title"),)))
    changed = server(PRODUCTS, live={"products__1": live(found)})
    with pytest.raises(DriftError):
        require_no_drift(catalog(PRODUCTS), changed, ["products"], frozenset({"products"}))


@given(st.permutations(["a", "b", "c"]), st.sets(st.sampled_from(["a", "b", "c"])))
def test_every_index_that_is_gone_is_named_and_no_other(names, gone):
    definitions = [index(name) for name in names]
    there = {each.physical: live(each) for each in definitions if each.served not in gone}
    inventory = server(*definitions, live=there)
    try:
        require_no_drift(catalog(*definitions), inventory, names)
        message = ""
    except DriftError as error:
        message = error.message
    assert {name for name in names if f"{name}: index {name} does not exist" in message} == gone
