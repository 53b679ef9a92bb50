"""Hypothesis strategies for index schemas, shared by the unit and the integration tests."""

from __future__ import annotations

from hypothesis import strategies as st

from redismigrate.schema import (
    GeoField,
    GeoShapeField,
    IndexSchema,
    NumericField,
    TagField,
    TextField,
    VectorField,
)

# Any bytes but NUL and line breaks, as the text that stands for them.
redis_text = st.one_of(
    st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), min_size=1, max_size=12),
    st.binary(min_size=1, max_size=8)
    .filter(lambda raw: not set(raw) & set(b"\0\r\n"))
    .map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True),
)
# The parser of FT.CREATE takes these for options of the field before.
option_words = st.sampled_from(["weight", "NoStem", "separator", "flat", "sortable", "unf", "NOINDEX"])
identifiers = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
separators = st.integers(1, 255).map(lambda byte: bytes([byte]).decode("utf-8", "surrogateescape"))
filters = st.sampled_from(
    [
        "@a > 1",
        "startswith(@__key, 'p:')",
        "exists(@b) && @c == 'x'",
        "!exists(@d)",
        "@a == '\\\\n'\n&& @b > 1\n",
    ]
)
languages = st.sampled_from(["english", "French", "chinese", "GERMAN"])


def optional(strategy):
    return st.none() | strategy


def positive(most):
    return st.integers(1, most)


def field_names(storage_type):
    return redis_text | option_words if storage_type == "hash" else identifiers | redis_text


def paths(storage_type, name):
    if storage_type == "hash":
        # A field of a hash that looks like a JSON path can't be said in RedisVL's layout.
        return optional(redis_text.filter(lambda text: not text.startswith(("$.", "$["))))
    json_paths = st.one_of(
        identifiers.map(lambda key: f"$.{key}"),
        identifiers.map(lambda key: f"$.many[*].{key}"),
        identifiers.map(lambda key: f'$["{key}"]'),
    )
    # The default path is `$.` and the name, which not every name makes a valid one.
    return optional(json_paths) if name.isidentifier() and name.isascii() else json_paths


@st.composite
def sortable_attributes(draw):
    sortable = draw(st.booleans())
    no_index = draw(st.booleans())
    return {
        "sortable": sortable,
        "unf": sortable and draw(st.booleans()),
        "no_index": no_index,
        "index_missing": not no_index and draw(st.booleans()),
    }


@st.composite
def vector_attributes(draw, algorithms, datatypes):
    algorithm = draw(st.sampled_from(algorithms))
    dims = draw(st.integers(2, 16))
    attributes = {
        "algorithm": algorithm,
        "dims": dims,
        "distance_metric": draw(st.sampled_from(["COSINE", "IP", "L2"])),
        "index_missing": draw(st.booleans()),
    }
    usable = [kind for kind in datatypes if algorithm != "SVS-VAMANA" or kind in ("FLOAT16", "FLOAT32")]
    attributes["datatype"] = draw(st.sampled_from(usable))
    if algorithm == "FLAT":
        attributes["block_size"] = draw(optional(positive(4096)))
    if algorithm == "HNSW":
        attributes["m"] = draw(optional(st.integers(2, 64)))
        attributes["ef_construction"] = draw(optional(positive(500)))
        attributes["ef_runtime"] = draw(optional(positive(500)))
    if algorithm == "SVS-VAMANA":
        attributes["graph_max_degree"] = draw(optional(positive(64)))
        attributes["construction_window_size"] = draw(optional(positive(500)))
        attributes["search_window_size"] = draw(optional(positive(500)))
        compression = draw(optional(st.sampled_from(["LVQ4", "LVQ4x8", "LVQ8", "LeanVec4x8", "LeanVec8x8"])))
        attributes["compression"] = compression
        if compression is not None:
            attributes["training_threshold"] = draw(optional(st.integers(1024, 99_999)))
            if compression.startswith("LeanVec"):
                attributes["reduce"] = draw(optional(st.integers(1, dims - 1)))
    else:
        attributes["initial_cap"] = draw(optional(st.integers(0, 1000)))
    if algorithm != "FLAT":
        attributes["epsilon"] = draw(optional(st.floats(0, 10)))
    return attributes


FIELD_CLASSES = (TextField, TagField, NumericField, GeoField, GeoShapeField, VectorField)


@st.composite
def fields(draw, storage_type, algorithms, datatypes, classes=FIELD_CLASSES):
    name = draw(field_names(storage_type))
    named = {"name": name, "path": draw(paths(storage_type, name))}
    cls = draw(st.sampled_from(classes))
    if cls is VectorField:
        has_many = "[*]" in (named["path"] or "")  # of which no server makes an SVS-VAMANA
        usable = [algorithm for algorithm in algorithms if algorithm != "SVS-VAMANA" or not has_many]
        return VectorField(**named, **draw(vector_attributes(usable, datatypes)))
    attributes = draw(sortable_attributes())
    if cls in (TextField, TagField):
        attributes["withsuffixtrie"] = draw(st.booleans())
        attributes["index_empty"] = draw(st.booleans())
    if cls is TextField:
        attributes["weight"] = draw(st.floats(-1e6, 1e6))
        attributes["no_stem"] = draw(st.booleans())
        attributes["phonetic_matcher"] = draw(optional(st.sampled_from(["dm:en", "dm:fr", "dm:pt", "dm:es"])))
    if cls is TagField:
        attributes["separator"] = draw(optional(separators))
        attributes["case_sensitive"] = draw(st.booleans())
    if cls is GeoShapeField:
        attributes["coord_system"] = draw(st.sampled_from(["SPHERICAL", "FLAT"]))
    return cls(**named, **attributes)


@st.composite
def schemas(
    draw,
    algorithms=("FLAT", "HNSW", "SVS-VAMANA"),
    datatypes=("BFLOAT16", "FLOAT16", "FLOAT32", "FLOAT64", "INT8", "UINT8"),
    *,
    can_index_all=True,
    storage_types=("hash", "json"),
    words=redis_text,
    can_be_wide_without_fields=True,
):
    """Schemas that a server takes, of what it knows.

    Args:
        algorithms: Of vectors.
        datatypes: Of vectors.
        can_index_all: INDEXALL.
        storage_types: Of the documents.
        words: Stopwords.
        can_be_wide_without_fields: MAXTEXTFIELDS with NOFIELDS.
    """
    storage_type = draw(st.sampled_from(storage_types))
    some_fields = st.lists(
        fields(storage_type, algorithms, datatypes),
        min_size=1,
        max_size=5,
        unique_by=lambda field: field.name,
    )
    is_wide = draw(st.booleans())
    return IndexSchema(
        name=draw(redis_text),
        storage_type=storage_type,
        prefixes=tuple(draw(st.lists(redis_text | st.just(""), max_size=3))),
        key_separator=draw(st.sampled_from([":", "_", ""])),
        filter=draw(optional(filters)),
        language=draw(languages),
        language_field=draw(optional(redis_text)),
        score=draw(st.just(1.0) | st.floats(0, 1)),
        score_field=draw(optional(redis_text)),
        payload_field=draw(optional(redis_text)),
        stopwords=draw(optional(st.lists(words, max_size=4).map(tuple))),
        max_text_fields=is_wide,
        no_offsets=draw(st.booleans()),
        no_highlight=draw(st.booleans()),
        no_fields=draw(st.booleans()) and (can_be_wide_without_fields or not is_wide),
        no_freqs=draw(st.booleans()),
        index_all=can_index_all and draw(st.booleans()),
        temporary_seconds=draw(optional(st.integers(60, 10**6))),
        skip_initial_scan=draw(st.booleans()),
        fields=tuple(draw(some_fields)),
    )


@st.composite
def _changed_field(draw, field, storage_type, algorithms, datatypes):
    """A field of the same name and type, or of the same dimensions, with other attributes."""
    other = draw(fields(storage_type, algorithms, datatypes, classes=[type(field)]))
    kept = {"name": field.name, "path": field.path if draw(st.booleans()) else other.path}
    if (
        kept["path"] is None
        and storage_type == "json"
        and not (field.name.isidentifier() and field.name.isascii())
    ):
        kept["path"] = field.path
    if isinstance(field, VectorField):
        kept["dims"], kept["path"] = field.dims, field.path
        if other.reduce is not None and other.reduce >= field.dims:
            return field
    return other.model_copy(update=kept)


@st.composite
def changed_schemas(
    draw,
    algorithms=("FLAT", "HNSW", "SVS-VAMANA"),
    datatypes=("BFLOAT16", "FLOAT16", "FLOAT32", "FLOAT64", "INT8", "UINT8"),
    *,
    can_index_all=True,
    words=redis_text,
):
    """A schema and what becomes of it: other options, fields dropped, altered, renamed and added.

    The storage type and the dimensions of vectors stay.
    """
    of_versions = {"can_index_all": can_index_all, "words": words}
    before = draw(schemas(algorithms, datatypes, **of_versions))
    other = draw(schemas(algorithms, datatypes, **of_versions, storage_types=[before.storage_type]))
    after = {}
    for field in before.fields:
        fate = draw(st.sampled_from(["keep", "keep", "alter", "drop", "rename"]))
        if fate == "alter":
            field = draw(_changed_field(field, before.storage_type, algorithms, datatypes))  # noqa: PLW2901
        if fate == "rename":
            field = field.model_copy(update={"name": f"renamed_{draw(identifiers)}"})  # noqa: PLW2901
        if fate != "drop":
            after[field.name] = field
    for field in other.fields:
        if draw(st.booleans()) or not after:
            after.setdefault(field.name, field)
    options = {
        name: getattr(other, name)
        for name in IndexSchema.model_fields
        if name not in {"name", "fields", "storage_type"} and draw(st.booleans())
    }
    order = draw(st.permutations(list(after.values())))
    return before, before.model_copy(update={**options, "fields": tuple(order)})
