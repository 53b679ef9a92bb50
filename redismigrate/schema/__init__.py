"""What a Redis Search index is, as values: model, FT.CREATE, FT.INFO, RedisVL's layout, differences. Pure."""

from redismigrate.schema.index_schema import (
    Field,
    GeoField,
    GeoShapeField,
    IndexSchema,
    NumericField,
    TagField,
    TextField,
    VectorField,
)

__all__ = [
    "Field",
    "GeoField",
    "GeoShapeField",
    "IndexSchema",
    "NumericField",
    "TagField",
    "TextField",
    "VectorField",
]
