"""The wizard's lines fit into a terminal of any width, whatever the names are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from schema_strategies import schemas

from redismigrate.cli.wizard_view import question_lines, refusal_lines, schema_lines
from redismigrate.errors import SchemaError
from redismigrate.foreign_text import readable
from redismigrate.schema import TagField, TextField, VectorField
from redismigrate.schema.index_schema import IndexSchema
from redismigrate.wizard.attributes import TYPES, descriptions, value_question
from redismigrate.wizard.dialogue import MENU
from redismigrate.wizard.questions import Choice, Question

widths = st.integers(40, 100)


@given(schema=schemas(), width=widths)
def test_every_line_fits_and_can_be_printed(schema, width):
    names = Question(
        "a", schema.name, tuple(Choice(each.name, each.type) for each in schema.fields), "x" * 90
    )
    for line in (*schema_lines(schema, width), *question_lines(names, width), *question_lines(MENU, width)):
        assert len(line) <= width + 1  # a blank behind a question
        assert readable(line) == line


def test_a_schema_shows_what_is_not_as_by_default():
    schema = IndexSchema(
        name="products",
        prefixes=("p:", "q:"),
        fields=(
            TextField(name="title", weight=2.0, no_stem=True),
            TagField(name="brand"),
            VectorField(name="embedding", algorithm="FLAT", dims=2, datatype="FLOAT16"),
        ),
    )
    assert list(schema_lines(schema, 80)) == [
        "Index products: hash, p:* or q:*",
        "  title      text     weight=2.0, no_stem",
        "  brand      tag",
        "  embedding  vector   algorithm=FLAT, dims=2, datatype=FLOAT16",
    ]


def test_a_refusal_says_what_to_do():
    assert list(refusal_lines(SchemaError("It has \x1b no name.", "Give one."), 80)) == [
        r"No: It has \x1b no name.",
        "  Give one.",
    ]


@pytest.mark.parametrize("type_", TYPES)
def test_every_attribute_is_explained(type_):
    cls = TYPES[type_]
    assert cls.model_fields.keys() - {"type"} <= descriptions(cls).keys()
    for attribute in cls.model_fields:
        assert value_question(cls, attribute, "").about or attribute == "type"
