"""The fields of an index but vectors: one frozen model per type, whose attributes are RedisVL's."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, model_validator

from redismigrate.errors import SchemaError
from redismigrate.schema.strict import Name, Strict, Text, did_you_mean, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

StorageType = Literal["hash", "json"]


def upper(value: object) -> object:
    """Text in upper case: FT.CREATE takes these words in any case and FT.INFO reports them so."""
    return value.upper() if isinstance(value, str) else value


def lower(value: object) -> object:
    """Text in lower case; anything else as it is."""
    return value.lower() if isinstance(value, str) else value


def _separator(value: str) -> str:
    # One byte, not one character: the server refuses "é".
    if len(encode(value)) != 1:
        raise ValueError(f"should be one byte, got {value!r}; leave it out for the default")
    return value


class FieldBase(Strict):
    """What every field has.

    Attributes:
        name: What queries call it (the AS name).
        path: The field of the hash or the JSON path it is read from; None: `name`, or `$.name` for JSON.
        index_missing: Documents without the field can be found by `ismissing()`.
    """

    name: Name
    path: Name | None = None
    index_missing: bool = False

    @classmethod
    def _describe(cls, data: dict[str, Any]) -> str:
        return f"{cls.model_fields['type'].default} field {data.get('name', '')!r}"

    @classmethod
    @abstractmethod
    def _inapplicable(cls, values: Mapping[str, Any]) -> dict[str, str]:
        """Attributes that mean nothing beside these values, with what they lack."""

    @model_validator(mode="after")
    def _has_only_what_applies(self) -> Self:
        for attribute, reason in self._inapplicable(self.__dict__).items():
            if self.__dict__[attribute] not in (None, False):
                raise ValueError(f"{attribute} {reason}")
        return self

    def path_in(self, storage_type: StorageType) -> str:
        """Where a document has the field: the field of a hash, or a JSON path."""
        if self.path is not None:
            return self.path
        return self.name if storage_type == "hash" else f"$.{self.name}"

    def altered(self, **attributes: Any) -> Self:
        """The field with other attributes.

        Attributes that do not apply any more are dropped unless they are named: a FLAT index has no `m`, a
        field that can't be sorted no `unf`.

        Args:
            attributes: Values by RedisVL's attribute names; None takes one back to its default.

        Raises:
            SchemaError: An unknown attribute, or a value that the type or the algorithm does not allow.
        """
        cls = type(self)
        known = [name for name in cls.model_fields if name != "type"]
        if "type" in attributes:
            raise SchemaError(
                f"{self._describe(self.__dict__)} can't change its type.",
                "Drop the field and add one of that name and the new type.",
            )
        unknown = [name for name in attributes if name not in known]
        if unknown:
            question = did_you_mean(unknown[0], known)
            raise SchemaError(
                f"{self._describe(self.__dict__)} has no attribute {unknown[0]!r}{question}.",
                f"Valid attributes: {', '.join(sorted(known))}.",
            )
        values = {**self.__dict__, **attributes}
        dropped = cls._inapplicable(values).keys() - attributes.keys()
        return cls(
            **{name: value for name, value in values.items() if name not in dropped and value is not None}
        )


class SortableField(FieldBase):
    """What all fields but vectors have.

    Attributes:
        sortable: Keep the values beside the index, to sort and to return them without reading documents.
        unf: Sort by the value as it is, not lower-cased; only with `sortable`.
        no_index: Don't index the values; `sortable` still works.
    """

    sortable: bool = False
    unf: bool = False
    no_index: bool = False

    @classmethod
    def _inapplicable(cls, values: Mapping[str, Any]) -> dict[str, str]:
        return {} if values["sortable"] else {"unf": "needs sortable"}

    @model_validator(mode="after")
    def _indexes_what_it_misses(self) -> Self:
        if self.no_index and self.index_missing:
            raise ValueError("no_index and index_missing exclude each other")
        return self


class TextField(SortableField):
    """Full text.

    Attributes:
        weight: How much a match here counts.
        no_stem: Index words as they are.
        phonetic_matcher: `dm:en`, `dm:fr`, `dm:pt` or `dm:es`: find words that sound alike.
        withsuffixtrie: Keep a trie of suffixes, for `*suffix` and `*contains*`.
        index_empty: Empty strings can be found.
    """

    type: Literal["text"] = "text"
    weight: float = 1.0
    no_stem: bool = False
    phonetic_matcher: (
        Annotated[Literal["dm:en", "dm:fr", "dm:pt", "dm:es"], BeforeValidator(lower)] | None
    ) = None
    withsuffixtrie: bool = False
    index_empty: bool = False


class TagField(SortableField):
    """Exact values.

    Attributes:
        separator: The byte between the tags of one value; None: the server's default, `,` for a hash and no
            separator at all for JSON.
        case_sensitive: Don't lower-case the tags.
        withsuffixtrie: Keep a trie of suffixes, for `*suffix` and `*contains*`.
        index_empty: Empty strings can be found.
    """

    type: Literal["tag"] = "tag"
    separator: Annotated[Text, AfterValidator(_separator)] | None = None
    case_sensitive: bool = False
    withsuffixtrie: bool = False
    index_empty: bool = False


class NumericField(SortableField):
    """Numbers, to be filtered and sorted by."""

    type: Literal["numeric"] = "numeric"


class GeoField(SortableField):
    """Points as "longitude,latitude", to be found by distance."""

    type: Literal["geo"] = "geo"


class GeoShapeField(SortableField):
    """Points and polygons in WKT.

    Attributes:
        coord_system: `SPHERICAL` (longitude and latitude) or `FLAT` (X and Y).
    """

    type: Literal["geoshape"] = "geoshape"
    coord_system: Annotated[Literal["SPHERICAL", "FLAT"], BeforeValidator(upper)] = "SPHERICAL"
