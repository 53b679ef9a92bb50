"""Every option of an index and every attribute of a field: created, read back, created again from that."""

from __future__ import annotations

import pytest
import redis
from servers import server_has

from redismigrate.redis_server.inspection import read_index
from redismigrate.schema import (
    GeoField,
    GeoShapeField,
    IndexSchema,
    NumericField,
    TagField,
    TextField,
    VectorField,
)
from redismigrate.schema.compare import diff, observable
from redismigrate.schema.create import alter_arguments, create_arguments
from redismigrate.schema.strict import encode
from redismigrate.schema.words import not_utf8

TITLE = TextField(name="title")

OPTIONS = {
    "no option": {},
    "one prefix": {"prefixes": ("a:",)},
    "several prefixes": {"prefixes": ("b:", "a:", "")},
    "prefix that is no UTF-8": {"prefixes": (b"\xff\xfe:",)},
    "filter": {"filter": "@title == 'x' && startswith(@__key, 'a')"},
    "filter over several lines": {"filter": "@title == '\\\\n'\n  && exists(@title)\n"},
    "language": {"language": "French"},
    "language field": {"language_field": "lang"},
    "score": {"score": 1 / 3},
    "score of 0": {"score": 0},
    "score field": {"score_field": "rank"},
    "payload field": {"payload_field": "payload"},
    "no stopwords": {"stopwords": ()},
    "own stopwords": {"stopwords": ("The", "the", "a", b"\xff")},
    "MAXTEXTFIELDS": {"max_text_fields": True},
    "NOOFFSETS": {"no_offsets": True},
    "NOHL": {"no_highlight": True},
    "NOFIELDS": {"no_fields": True},
    "NOFREQS": {"no_freqs": True},
    "TEMPORARY": {"temporary_seconds": 100},
    "SKIPINITIALSCAN": {"skip_initial_scan": True},
    "key separator": {"key_separator": "_"},
    "all options": {
        "prefixes": ("a:",),
        "filter": "@title == 'x'",
        "language": "german",
        "language_field": "lang",
        "score": 0.25,
        "score_field": "rank",
        "payload_field": "payload",
        "stopwords": ("a",),
        "max_text_fields": True,
        "no_offsets": True,
        "no_highlight": True,
        "no_fields": True,
        "no_freqs": True,
        "temporary_seconds": 1000,
        "skip_initial_scan": True,
    },
}

SORTABLE = {
    "plain": {},
    "sortable": {"sortable": True},
    "sortable and UNF": {"sortable": True, "unf": True},
    "NOINDEX": {"no_index": True},
    "sortable, UNF and NOINDEX": {"sortable": True, "unf": True, "no_index": True},
    "INDEXMISSING": {"index_missing": True},
    "sortable, UNF and INDEXMISSING": {"sortable": True, "unf": True, "index_missing": True},
}
OWN_ATTRIBUTES = {
    TextField: {
        "WEIGHT": {"weight": 0.1 + 0.2},
        "NOSTEM": {"no_stem": True},
        "PHONETIC": {"phonetic_matcher": "dm:fr"},
        "WITHSUFFIXTRIE": {"withsuffixtrie": True},
        "INDEXEMPTY": {"index_empty": True},
        "all": {
            "weight": 2,
            "no_stem": True,
            "phonetic_matcher": "dm:en",
            "withsuffixtrie": True,
            "index_empty": True,
            "index_missing": True,
            "sortable": True,
            "unf": True,
        },
    },
    TagField: {
        "SEPARATOR": {"separator": ";"},
        "SEPARATOR of a comma": {"separator": ","},
        "SEPARATOR of a line feed": {"separator": "\n"},
        "SEPARATOR of a carriage return": {"separator": "\r"},
        "SEPARATOR of a backslash": {"separator": "\\"},
        "SEPARATOR that is no UTF-8": {"separator": b"\xff"},
        "CASESENSITIVE": {"case_sensitive": True},
        "CASESENSITIVE and sortable": {"case_sensitive": True, "sortable": True},
        "WITHSUFFIXTRIE": {"withsuffixtrie": True},
        "INDEXEMPTY": {"index_empty": True},
        "all": {
            "separator": "|",
            "case_sensitive": True,
            "withsuffixtrie": True,
            "index_empty": True,
            "index_missing": True,
            "sortable": True,
            "unf": True,
        },
    },
    NumericField: {},
    GeoField: {},
    GeoShapeField: {"FLAT": {"coord_system": "FLAT"}, "SPHERICAL": {"coord_system": "SPHERICAL"}},
}
HNSW = {"algorithm": "HNSW", "dims": 4}
VECTORS = {
    "FLAT": {"algorithm": "FLAT", "dims": 4},
    "FLAT with all": {"algorithm": "FLAT", "dims": 3, "initial_cap": 10, "block_size": 77},
    "HNSW": HNSW,
    "HNSW with all": {
        **HNSW,
        "initial_cap": 10,
        "m": 8,
        "ef_construction": 100,
        "ef_runtime": 20,
        "epsilon": 0.1 + 0.2,
    },
    "HNSW with an epsilon of 0": {**HNSW, "epsilon": 0},
    "HNSW with more edges than candidates": {**HNSW, "m": 512},
    "INDEXMISSING": {**HNSW, "index_missing": True},
    **{
        datatype: {**HNSW, "datatype": datatype} for datatype in ("BFLOAT16", "FLOAT16", "FLOAT32", "FLOAT64")
    },
    **{metric: {**HNSW, "distance_metric": metric} for metric in ("COSINE", "IP", "L2")},
}


def zoo():
    for storage_type in ("hash", "json"):
        for name, options in OPTIONS.items():
            yield (
                f"{storage_type}: {name}",
                IndexSchema(name="i", storage_type=storage_type, **options, fields=(TITLE,)),
            )
        for name, field in fields():
            yield f"{storage_type}: {name}", IndexSchema(name="i", storage_type=storage_type, fields=(field,))
        path = "field" if storage_type == "hash" else '$["a b"][*]'
        yield (
            f"{storage_type}: a path and two attributes on it",
            IndexSchema(
                name="i",
                storage_type=storage_type,
                fields=(TextField(name="x", path=path), TagField(name="y", path=path)),
            ),
        )
        many = tuple(TextField(name=f"t{number}") for number in range(33))
        yield (
            f"{storage_type}: more TEXT fields than fit without MAXTEXTFIELDS",
            IndexSchema(name="i", storage_type=storage_type, fields=many),
        )
    yield (
        "hash: fields called like options",
        IndexSchema(name="i", fields=(TITLE, NumericField(name="weight"), GeoField(name="g"))),
    )
    yield (
        "hash: text that is no UTF-8",
        IndexSchema(
            name=b"\xff",
            language_field=b"\xfe",
            score_field=b"\xfd",
            payload_field=b"\xfc",
            fields=(TextField(name=b"\xfb", path=b"\xfa"), VectorField(name=b"\xf9", **HNSW)),
        ),
    )
    yield "hash: fields of every type", IndexSchema(name="i", fields=every_type())
    yield "json: fields of every type", IndexSchema(name="i", storage_type="json", fields=every_type())


def fields():
    for cls, own_attributes in OWN_ATTRIBUTES.items():
        for name, attributes in {**SORTABLE, **own_attributes}.items():
            field = cls(name="f", **attributes)
            yield f"{field.type}: {name}", field
    for name, attributes in VECTORS.items():
        yield f"vector: {name}", VectorField(name="f", **attributes)


def every_type():
    return (
        TITLE,
        TagField(name="tag"),
        NumericField(name="number"),
        GeoField(name="place"),
        GeoShapeField(name="area"),
        VectorField(name="flat", algorithm="FLAT", dims=2),
        VectorField(name="graph", algorithm="HNSW", dims=2),
    )


ZOO = dict(zoo())
# What no reply of the server tells.
NOT_TOLD = ("SKIPINITIALSCAN", "key separator", "text: PHONETIC")


def without_options(schema):
    plain_fields = tuple(type(field)(name=field.name) for field in schema.fields if field.type != "vector")
    return IndexSchema(name=schema.name, storage_type=schema.storage_type, fields=plain_fields)


TOLD = {
    name: schema
    for name, schema in ZOO.items()
    if not name.endswith(NOT_TOLD) and diff(without_options(schema), schema)
}


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client(redis_url, request):
    with redis.Redis.from_url(redis_url, protocol=request.param) as client:
        yield client


def create_and_read(client, schema):
    client.execute_command(*create_arguments(schema))
    live = read_index(client.execute_command, schema.name)
    assert live.has_vector_details or not server_has("search debugging")
    return live.schema


def observed(schema):
    """What this server tells of it."""
    return observable(schema, has_vector_details=server_has("search debugging"))


def of_its_servers(schemas, *, is_seen=False):
    """The schemas as parameters of a test, each for the servers that can hold it, or tell it, too."""
    parameters = []
    for name, schema in schemas.items():
        traits = []
        if schema.max_text_fields and schema.no_fields:
            traits.append("maxtextfields with nofields")
        if not_utf8(schema.stopwords or ()):
            traits.append("words of any bytes")
        plain = observable(without_options(schema), has_vector_details=False)
        if is_seen and not diff(plain, observable(schema, has_vector_details=False)):
            traits.append("search debugging")
        marks = [pytest.mark.needs(*traits)] if traits else ()
        parameters.append(pytest.param(schema, id=name, marks=marks))
    return parameters


@pytest.mark.parametrize("schema", of_its_servers(ZOO))
def test_an_index_reads_back_as_it_was_created(client, schema):
    read = create_and_read(client, schema)

    assert [str(difference) for difference in diff(observed(schema), observed(read))] == []
    assert observed(read) == observed(schema)


@pytest.mark.parametrize("schema", of_its_servers(ZOO))
def test_an_index_made_from_what_was_read_reads_the_same(client, schema):
    read = create_and_read(client, schema)
    client.execute_command("FT.DROPINDEX", encode(schema.name))

    assert create_and_read(client, read) == read


@pytest.mark.parametrize("schema", of_its_servers(TOLD, is_seen=True))
def test_what_differs_from_a_plain_index_is_seen(client, schema):
    read = create_and_read(client, schema)

    assert diff(observed(without_options(schema)), observed(read)) != ()


@pytest.mark.parametrize("storage_type", ["hash", "json"])
def test_fields_added_by_ft_alter_read_back_as_if_created(client, storage_type):
    whole = IndexSchema(name="i", storage_type=storage_type, max_text_fields=True, fields=(TITLE,))
    client.execute_command(*create_arguments(whole))
    for number, (_, field) in enumerate(fields()):
        whole = whole.with_field(field.altered(name=f"f{number}"))
    client.execute_command(*alter_arguments("i", whole.fields[1:], storage_type))

    read = read_index(client.execute_command, "i").schema

    assert diff(observed(whole), observed(read)) == ()
