"""The wizard as data: what it asks, what it refuses and why, and what its answers come to."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redismigrate.errors import PlanBlocked, RedisMigrateError, SchemaError, UsageError
from redismigrate.foreign_documents import parse_yaml
from redismigrate.operations.net_changes import lead_to_the_same
from redismigrate.operations.operation_types import CreateIndex
from redismigrate.operations.patch_writing import patch_of_changes
from redismigrate.operations.redisvl_patch import changes_of_patch, schema_patch
from redismigrate.operations.script_calls import record
from redismigrate.schema import IndexSchema
from redismigrate.schema.definition import Catalog
from redismigrate.schema.redisvl import schema_from_redisvl
from redismigrate.schema.yaml_file import yaml_text
from redismigrate.wizard.dialogue import Dialogue, Judgement
from redismigrate.wizard.draft import Draft
from redismigrate.wizard.entries import given_answers, played
from redismigrate.wizard.forms import FORMS
from redismigrate.wizard.questions import Exact

PRODUCTS = {
    "index": {"name": "products", "prefix": "product", "storage_type": "hash"},
    "fields": [
        {"name": "title", "type": "text"},
        {"name": "brand", "type": "tag"},
        {"name": "price", "type": "numeric", "attrs": {"sortable": True}},
        {"name": "embedding", "type": "vector", "attrs": {"algorithm": "flat", "dims": 8}},
    ],
}


def catalog_of(*layouts):
    catalog = Catalog()
    for layout in layouts:
        schema = layout if isinstance(layout, IndexSchema) else schema_from_redisvl(layout)
        catalog = CreateIndex(schema).apply(catalog)
    return catalog


def all_is_possible(draft):
    return Judgement()


class Asking:
    """The dialogue alone."""

    def __init__(self, *layouts, judge=all_is_possible):
        catalog = catalog_of(*(layouts or (PRODUCTS,)))
        self.dialogue = Dialogue(Draft(catalog, next(iter(catalog))))
        self._judge = judge

    @property
    def question(self):
        return self.dialogue.question

    def answer(self, answer):
        self.dialogue = self.dialogue.answered(answer, self._judge)

    def answers(self, *answers):
        for answer in answers:
            self.answer(answer)
            assert self.dialogue.refusal is None, self.dialogue.refusal
        return self

    def refuses(self, answer):
        before = replace(self.dialogue, told=(), refusal=None)
        self.answer(answer)
        assert replace(self.dialogue, told=(), refusal=None) == before
        return self.dialogue.refusal

    @property
    def changes(self):
        return self.dialogue.draft.changes


def by_hand(upgrade, *layouts):
    """The changes that a script records."""
    return record(upgrade, catalog_of(*(layouts or (PRODUCTS,))), "script").recorded[0].changes


# --- what it asks -------------------------------------------------------------------------------------------


def test_the_menu_has_the_eight_actions_of_redisvl_first():
    assert list(FORMS)[:8] == [
        "add",
        "change",
        "remove",
        "rename",
        "rename-index",
        "prefix",
        "preview",
        "finish",
    ]
    assert [choice.name for choice in Asking().question.choices] == list(FORMS)


@pytest.mark.parametrize("answer", ["2", "change", " change ", "CHANGE", "2 "])
def test_an_action_is_chosen_by_number_or_name(answer):
    assert Asking().answers(answer).question.text == "Field"


def test_attributes_are_shown_with_what_they_are_now():
    question = Asking().answers("change", "embedding").question
    assert {choice.name: choice.text for choice in question.choices} == {
        "algorithm": "FLAT",
        "dims": "8",
        "datatype": "FLOAT32",
        "distance_metric": "COSINE",
        "initial_cap": "default",
        "block_size": "1024 (default)",
        "path": "embedding",
        "index_missing": "no",
    }


def test_only_attributes_that_mean_something_are_offered():
    names = [choice.name for choice in Asking().answers("2", "title").question.choices]
    assert "unf" not in names
    names = [choice.name for choice in Asking().answers("2", "price").question.choices]
    assert "unf" in names
    asking = Asking().answers("2", "embedding", "algorithm", "hnsw")
    assert "m" in [choice.name for choice in asking.question.choices]


def test_a_value_is_asked_for_with_its_choices_and_what_it_is_for():
    question = Asking().answers("change", "embedding", "datatype").question
    assert question.current == "FLOAT32"
    choices = {choice.name: choice.text for choice in question.choices}
    assert list(choices) == ["BFLOAT16", "FLOAT16", "FLOAT32", "FLOAT64", "INT8", "UINT8"]
    assert choices["FLOAT16"] == "2 bytes for each dimension"
    assert Asking().answers("change", "title", "weight").question.about == "How much a match here counts."


def test_a_name_goes_before_a_number():
    layout = {"index": {"name": "a"}, "fields": [{"name": name, "type": "tag"} for name in ("x", "3", "1")]}
    for answer, chosen in [("1", "1"), ("3", "3"), ("2", "3"), ('"1"', "1")]:
        assert Asking(layout).answers("rename", answer).dialogue.values["rename"] == chosen


def test_an_empty_answer_leads_back_or_keeps_what_is():
    for form in ("add", "change", "remove", "rename", "rename-index", "prefix"):
        assert Asking().answers(form, "").dialogue.form is None
    asking = Asking().answers("change", "embedding", "datatype", "")
    assert (asking.question.key, asking.changes) == ("attribute", ())
    assert asking.answers("").dialogue.form is None
    assert Asking().answers("").dialogue.form is None


# --- what answers come to -----------------------------------------------------------------------------------


def test_the_sequence_of_the_notebook_comes_to_float16():
    asking = Asking().answers("2", "embedding", "datatype", "float16", "", "8", "")
    assert [str(change) for change in asking.changes] == ["alter field embedding: datatype=FLOAT16"]
    assert asking.dialogue.ending == "finish"
    assert asking.dialogue.message == "products: alter field embedding: datatype=FLOAT16"


def test_every_action_says_what_a_script_says():
    asking = Asking().answers(
        *("add", "stock", "numeric", "sortable", "yes", ""),
        *("change", "embedding", "algorithm=hnsw", "m", "32", "datatype", "2", ""),
        *("remove", "brand"),
        *("rename", "title", "name"),
        *("prefix", "shop"),
        *("rename-index", "goods"),
    )

    def upgrade(op):
        with op.index("products") as index:
            index.drop_field("brand")
            index.rename_field("title", "name")
            index.alter_field("embedding", algorithm="hnsw", datatype="float16", m=32)
            index.add_field({"name": "stock", "type": "numeric", "attrs": {"sortable": True}})
            index.change_prefix("product", "shop")
            index.rename_to("goods")

    assert asking.changes == by_hand(upgrade)


def test_a_vector_field_can_be_added():
    asking = Asking().answers("add", "image", "vector", "hnsw", "4", "m=8", "")
    assert [str(change) for change in asking.changes] == ["add vector field image"]
    field = asking.dialogue.draft.schema.field("image")
    assert (field.algorithm, field.dims, field.m) == ("HNSW", 4, 8)


def test_one_of_several_prefixes_is_changed():
    layout = {**PRODUCTS, "index": {"name": "products", "prefix": ["p:", "q:"]}}
    assert [str(change) for change in Asking(layout).answers("prefix", "2", "r:").changes] == [
        "change prefix q: to r:"
    ]


def test_documents_of_two_prefixes_that_are_changed_move():
    """The two schemas alone would not tell which of the old keys become which of the new ones."""
    layout = {**PRODUCTS, "index": {"name": "products", "prefix": ["a:", "b:"]}}
    asking = Asking(layout).answers("prefix", "1", "c:", "prefix", "b:", "d:")
    assert [str(change) for change in asking.changes] == ["change prefix a: to c:", "change prefix b: to d:"]


def test_a_prefix_whose_documents_can_not_be_moved_is_refused_and_not_left_behind():
    layout = {**PRODUCTS, "index": {"name": "products", "prefix": ["a:", "b:"]}}
    asking = Asking(layout).answers("prefix", "1")
    asking.answer("b:")
    assert asking.dialogue.refusal is not None
    assert asking.dialogue.draft.changes == ()


@pytest.mark.parametrize("first", ["product:", "shop", "goods:", "p"])
def test_the_last_prefix_is_what_counts(first):
    def upgrade(op):
        with op.index("products") as index:
            index.change_prefix("product", "store")

    assert Asking().answers("prefix", first, "prefix", "store").changes == by_hand(upgrade)


@pytest.mark.parametrize(
    "answers",
    [
        ("rename", "title", "name", "rename", "name", "title"),
        ("add", "x", "tag", "", "remove", "x"),
        ("change", "title", "weight", "2", "weight", "1", ""),
        ("prefix", "shop", "prefix", "product"),
        ("rename-index", "goods", "rename-index", "products"),
        ("remove", "title", "undo"),
        ("change", "price", "sortable=default", "sortable=yes", ""),
    ],
)
def test_what_is_taken_back_is_no_change(answers):
    asking = Asking().answers(*answers)
    assert asking.changes == ()
    assert asking.answers("finish").dialogue.ending == "finish"
    assert asking.dialogue.message is None


def test_a_field_that_takes_the_name_of_one_that_goes_keeps_the_order_of_the_answers():
    asking = Asking().answers("remove", "title", "rename", "brand", "title")
    assert [str(change) for change in asking.changes] == ["drop field title", "rename field brand to title"]
    with pytest.raises(SchemaError, match="A schema patch can't say this of index 'products'"):
        patch_of_changes(asking.changes, asking.dialogue.draft.before)


def test_text_in_quotes_stands_for_itself():
    asking = Asking().answers("change", "brand", "separator", '" "', "path", '"default"', "")
    assert asking.dialogue.draft.schema.field("brand").separator == " "
    assert asking.dialogue.draft.schema.field("brand").path == "default"


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "refused", "reason"),
    [
        ((), "11", "'11' is none of the answers."),
        ((), "remvoe", "'remvoe' is none of the answers (did you mean 'remove'?)."),
        (("add",), "title", "Index 'products' already has a field 'title'."),
        (("add", "x"), "vectro", "'vectro' is none of the answers (did you mean 'vector'?)."),
        (("add", "x", "vector", "flat"), "none", "vector field 'x': dims: input should be a valid integer"),
        (("change",), "titel", "'titel' is none of the answers (did you mean 'title'?)."),
        (
            ("change", "title"),
            "wieght",
            "text field 'title' has no attribute 'wieght' (did you mean 'weight'?).",
        ),
        (("change", "title", "weight"), "much", "text field 'title': weight: input should be a valid number"),
        (("change", "embedding"), "m=8", "vector field 'embedding': m belongs to HNSW, not to FLAT."),
        (
            ("change", "embedding", "datatype"),
            "float8",
            "vector field 'embedding': datatype: input should be",
        ),
        (("change", "title"), "name=x", "A name is no attribute to change."),
        (("rename", "title"), "brand", "Index 'products' already has a field 'brand'."),
        (("rename", "title"), "title", "Field 'title' of index 'products' has that name already."),
        (("rename", "title"), '""', "field '': is empty."),
        (("rename-index",), "products", "Index products has that name already."),
        (("rename-index",), "pages", "Index pages exists already at this revision."),
        (("prefix",), "product", "Index 'products' has the prefix 'product' already."),
        ((), "undo", "There is nothing to undo."),
        (("rename", "title"), '"\\q"', "The answer is no JSON"),
    ],
)
def test_what_can_not_be_is_refused_at_once_and_asked_again(answers, refused, reason):
    pages = {"index": {"name": "pages", "prefix": "page"}, "fields": [{"name": "a", "type": "tag"}]}
    asking = Asking(PRODUCTS, pages).answers(*answers)
    error = asking.refuses(refused)
    assert isinstance(error, UsageError | SchemaError)
    assert error.message.startswith(reason)


def test_an_index_keeps_a_field():
    layout = {"index": {"name": "a"}, "fields": [{"name": "x", "type": "tag"}]}
    assert Asking(layout).answers("remove").refuses("x").message == "Index a has no fields."


def test_what_planning_calls_impossible_is_refused_with_its_reason_and_other_notes_are_told():
    def judge(draft):
        if any(field.type == "vector" and field.dims != 8 for field in draft.schema.fields):
            return Judgement(("its documents would have to be rewritten",))
        return Judgement(notes=("Clients query it.",))

    asking = Asking(judge=judge).answers("change", "embedding", "dims")
    error = asking.refuses("16")
    assert isinstance(error, PlanBlocked)
    assert error.message == "its documents would have to be rewritten."
    told = asking.answers("", "datatype=float16").dialogue.told
    assert [each.text for each in told] == ["alter field embedding: datatype=FLOAT16", "Clients query it."]


# --- answers given beforehand -------------------------------------------------------------------------------


def play(content, asking=None):
    asking = asking or Asking()
    for _ in played(asking, given_answers(content).entries):
        pass
    return asking


@pytest.mark.parametrize(
    "entry", [{"rename": "title", "to": None}, {"remove": None}, {"prefix": None}, {"rename_index": None}]
)
def test_a_blank_behind_a_name_is_refused_and_drops_no_change(entry):
    with pytest.raises(UsageError, match="is empty"):
        play([entry, {"remove": "price"}])


def test_a_change_is_one_entry():
    asking = play(
        [
            {"change": "embedding", "m": 32, "algorithm": "hnsw", "datatype": "float16"},
            {"add": "image", "type": "vector", "dims": 4, "algorithm": "flat"},
            {"remove": "brand"},
            {"rename": "title", "to": "name"},
            {"rename_index": "goods"},
            {"prefix": "shop"},
            {"preview": "patch"},
            {"change": "price", "sortable": False, "index_missing": None},
            {"finish": "all of it"},
        ]
    )
    typed = Asking().answers(
        *("change", "embedding", "algorithm", "hnsw", "m", "32", "datatype", "float16", ""),
        *("add", "image", "vector", "flat", "4", ""),
        *("remove", "brand", "rename", "title", "name", "rename-index", "goods", "prefix", "shop"),
        *("change", "price", "sortable", "no", ""),
    )
    assert asking.changes == typed.changes
    assert asking.dialogue.message == "all of it"


def test_typed_answers_and_changes_can_stand_in_one_file():
    asking = play(
        [2, "embedding", "datatype", "float16", None, {"remove": "brand"}, "rename", "title", "name"]
    )
    assert len(asking.changes) == 3
    assert asking.dialogue.ending == "finish"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("x", "the file is no mapping: 'x'."),
        ({"answer": []}, "the file has an unknown key 'answer' (did you mean 'answers'?)."),
        ({"answers": {}}, "answers is no list of at most 10,000."),
        ({"answers": [], "index": 1}, "index is no text: 1."),
        ([[]], "answers[0]: [] is no answer."),
        ([{1: 2}], "answers[0]: 1 is no key of an answer."),
        ([{"add": []}], "answers[0]: [] is no answer."),
        ([{}], "answers[0]: one action has to be named, not nothing."),
        ([{"ad": "x"}], "answers[0]: one action has to be named, not ad (did you mean 'add'?)."),
        ([{"add": "x", "remove": "y"}], "answers[0]: one action has to be named, not add, remove."),
        ([{"add": "x"}], "answers[0]: add needs 'type': Type of field x."),
        ([{"rename": "title"}], "answers[0]: rename needs 'to': New name of field title."),
        ([{"rename": "title", "to": "a", "path": "b"}], "answers[0]: rename does not ask for 'path'."),
        ([{"rename": "title", "to": False}], "answers[0]: field False: should be text, got False (bool)"),
        ([{"change": "title", "weight=2": 2}], "answers[0]: text field 'title' has no attribute 'weight=2'"),
        ([{"change": "1", "weight": 2}], "answers[0]: '1' is none of the answers."),
        ([{"change": "title", "weight": "x"}], "answers[0]: text field 'title': weight: input should be"),
        (["rename", {"remove": "title"}], "answers[1]: “Field to rename” is asked"),
        (["rename", "title"], "answers[2]: there is no answer to “New name of field title”."),
        (["quit", "finish"], "answers[1]: the wizard has ended before it."),
        (["1", "title"], "answers[1]: Index 'products' already has a field 'title'."),
    ],
)
def test_a_file_that_can_not_be_is_refused_with_the_place(content, reason):
    with pytest.raises(RedisMigrateError) as refused:
        play(content)
    assert refused.value.message.startswith(reason)


# --- anything -----------------------------------------------------------------------------------------------

NAMES = [
    "title",
    "brand",
    "price",
    "embedding",
    "name",
    "x",
    "a",
    "1",
    "2",
    "",
    "products",
    "\udcff",
    "é\u202e",
]
VALUES = [
    "float16",
    "hnsw",
    "svs-vamana",
    "yes",
    "no",
    "0",
    "16",
    "1e999",
    "-1",
    "default",
    '"|"',
    '"',
    "|",
    "p:",
]
typed_answers = st.one_of(
    st.sampled_from(list(FORMS)),
    st.integers(-1, 12).map(str),
    st.sampled_from(NAMES),
    st.sampled_from(VALUES),
    st.sampled_from(["datatype=float16", "m=4", "sortable=yes", "separator=;", "weight=nan", "=", "dims=2"]),
    st.text(max_size=5),
)
given_values = st.one_of(
    st.sampled_from([*NAMES, *VALUES]), st.booleans(), st.none(), st.integers(), st.floats()
)
entries = st.one_of(
    typed_answers,
    given_values,
    st.dictionaries(
        st.sampled_from(["add", "type", "change", "datatype", "algorithm", "dims", "m", "remove", "rename"])
        | st.sampled_from(
            ["to", "prefix", "rename_index", "sortable", "separator", "finish", "path", "weight"]
        ),
        given_values,
        max_size=4,
    ),
    st.fixed_dictionaries(
        {"add": st.sampled_from(NAMES), "type": st.sampled_from(["tag", "text", "numeric", "geo", "vector"])},
        optional={"dims": given_values, "algorithm": st.sampled_from(VALUES), "sortable": st.booleans()},
    ),
    st.fixed_dictionaries(
        {"change": st.sampled_from(NAMES)},
        optional=dict.fromkeys(("datatype", "algorithm", "m", "weight", "separator", "path"), given_values),
    ),
    st.fixed_dictionaries({"rename": st.sampled_from(NAMES), "to": st.sampled_from(NAMES)}),
    st.fixed_dictionaries({"remove": st.sampled_from(NAMES)}),
)
JSON_PAGES = {
    "index": {"name": "pages", "prefix": ["p:", "q:"], "storage_type": "json"},
    "fields": [
        {"name": "title", "type": "text", "path": "$.title"},
        {"name": "brand", "type": "tag", "path": "$.brands[*]"},
        {"name": "price", "type": "numeric", "path": "$.price"},
        {"name": "embedding", "type": "vector", "attrs": {"algorithm": "hnsw", "dims": 8, "m": 8}},
    ],
}
layouts = st.sampled_from([PRODUCTS, JSON_PAGES])


@given(layout=layouts, typed=st.lists(typed_answers, max_size=25))
def test_whatever_is_typed_is_taken_or_refused_and_the_draft_can_be_written(layout, typed):
    asking = Asking(layout)
    for answer in typed:
        if asking.dialogue.ending is None:
            assert asking.question
            asking.answer(answer)
    draft = asking.dialogue.draft
    for operation in draft.operations:
        operation.apply(draft.catalog)
    says_the_same_as_its_patch(draft)


@settings(max_examples=200)
@given(layout=layouts, content=st.lists(entries, max_size=6))
def test_whatever_a_file_says_is_taken_or_one_error(layout, content):
    asking = Asking(layout)
    with suppress(RedisMigrateError):
        play(content, asking)
    says_the_same_as_its_patch(asking.dialogue.draft)


def says_the_same_as_its_patch(draft):
    """The patch is read back from its file as the same change, unless there is none that says it."""
    try:
        patch = patch_of_changes(draft.changes, draft.before)
    except SchemaError:
        return
    read = changes_of_patch(schema_patch(parse_yaml(yaml_text(patch))), draft.before)
    assert read == draft.changes or lead_to_the_same(read, draft.changes, draft.before)


def test_exact_text_is_no_number_and_not_trimmed():
    asking = Asking().answers("rename", "title", Exact(" a"))
    assert asking.dialogue.draft.schema.field(" a")
    assert Asking().answers("rename").refuses(Exact("1"))
