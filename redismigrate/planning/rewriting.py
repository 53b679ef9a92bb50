"""What a change of an index does to its documents, as data that a plan can hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from redismigrate.schema import IndexSchema, VectorField
from redismigrate.schema.fields import StorageType
from redismigrate.schema.quantization import Quantization
from redismigrate.schema.vector_field import Datatype, DistanceMetric

# Source datatype -> those that hold every one of its numbers exactly.
LOSSLESS: dict[Datatype, tuple[Datatype, ...]] = {
    "FLOAT16": ("FLOAT32", "FLOAT64"),
    "BFLOAT16": ("FLOAT32", "FLOAT64"),
    "FLOAT32": ("FLOAT64",),
}
BYTES_PER_COMPONENT: dict[Datatype, int] = {
    "FLOAT64": 8,
    "FLOAT32": 4,
    "FLOAT16": 2,
    "BFLOAT16": 2,
    "INT8": 1,
    "UINT8": 1,
}


@dataclass(frozen=True)
class Recoding:
    """The vectors of one hash field in another datatype.

    Attributes:
        path: The hash field, as it is called before the change.
        dims: Components of a vector.
        distance_metric: Of the index afterwards; decides how integers are made.
        before: The datatype in Redis.
        after: The wanted one.
        quantization_before: How the integers in Redis were made, where `before` is one of integers and
            that is recorded.
    """

    path: str
    dims: int
    distance_metric: DistanceMetric
    before: Datatype
    after: Datatype
    quantization_before: Quantization | None = None

    @property
    def bytes_before(self) -> int:
        """Of one vector."""
        return self.dims * BYTES_PER_COMPONENT[self.before]

    @property
    def bytes_after(self) -> int:
        """Of one vector."""
        return self.dims * BYTES_PER_COMPONENT[self.after]

    @property
    def has_one_width(self) -> bool:
        """Whether the length of a value does not tell in which datatype it is."""
        return self.bytes_before == self.bytes_after

    @property
    def is_lossless(self) -> bool:
        """Whether every number comes back when it is converted there and back."""
        return self.after in LOSSLESS.get(self.before, ())

    def __str__(self) -> str:
        return f"{self.path} from {self.before} to {self.after}"


@dataclass(frozen=True)
class PathRename:
    """A value that moves within its document.

    Attributes:
        old: The hash field or JSON path that holds it.
        new: The one that shall hold it; nothing may be there.
    """

    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.old} to {self.new}"


@dataclass(frozen=True)
class PrefixChange:
    """Keys that get another beginning."""

    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.old}* to {self.new}*"


@dataclass(frozen=True)
class Rewrite:
    """All that one change of an index does to its documents; carried out in one pass.

    Attributes:
        storage_type: Of the documents.
        recodings: Vectors to re-encode, in place.
        renames: Values that move within their documents, after that.
        prefixes: Keys that move, after that.
        excluded_prefixes: Keys that an earlier change of the same revision has rewritten already.
    """

    storage_type: StorageType
    recodings: tuple[Recoding, ...] = ()
    renames: tuple[PathRename, ...] = ()
    prefixes: tuple[PrefixChange, ...] = ()
    excluded_prefixes: tuple[str, ...] = ()

    @property
    def moves(self) -> bool:
        """Whether values or keys move, which nobody may write to meanwhile."""
        return bool(self.renames or self.prefixes)

    @property
    def recoded_paths(self) -> tuple[str, ...]:
        """The hash fields whose bytes change."""
        return tuple(recoding.path for recoding in self.recodings)

    def __bool__(self) -> bool:
        return bool(self.recodings or self.moves)

    def __str__(self) -> str:
        parts = [f"re-encode {recoding}" for recoding in self.recodings]
        parts += [f"rename {rename}" for rename in self.renames]
        parts += [f"move keys {prefix}" for prefix in self.prefixes]
        return ", ".join(parts)


def recodings_of(
    before: IndexSchema,
    after: IndexSchema,
    renames: Iterable[PathRename],
    quantizations: dict[str, Quantization],
) -> tuple[Recoding, ...]:
    """The vector fields whose bytes in the hashes have to change.

    JSON documents hold vectors as numbers: there a datatype is a matter of the index alone.

    Args:
        before: The index as it is.
        after: The index as it is wanted.
        renames: What moves between the two.
        quantizations: Hash field -> how its integers were made, as recorded.
    """
    if before.storage_type != "hash" or after.storage_type != "hash":
        return ()
    old_paths = {rename.new: rename.old for rename in renames}
    old = {field.path_in("hash"): field for field in before.fields if isinstance(field, VectorField)}
    recodings = []
    for field in after.fields:
        path = old_paths.get(field.path_in("hash"), field.path_in("hash"))
        source = old.get(path)
        if not isinstance(field, VectorField) or source is None or source.dims != field.dims:
            continue
        recoding = Recoding(
            path,
            field.dims,
            field.distance_metric,
            source.datatype,
            field.datatype,
            quantizations.get(path),
        )
        if recoding.before != recoding.after:
            recodings.append(recoding)
    return tuple(recodings)
