"""What is done to documents, as data that a plan can hold: vectors re-encoded, values and keys moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from redismigrate.documents.array_texts import count_components
from redismigrate.documents.storage_change import StorageChange
from redismigrate.schema import VectorField
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.fields import StorageType
from redismigrate.schema.moves import PathRename, PrefixChange
from redismigrate.schema.quantization import Quantization
from redismigrate.schema.strict import encode
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
# Of a number as text, with its comma, as a rule.
JSON_BYTES_PER_COMPONENT = 13


@dataclass(frozen=True)
class Recoding:
    """The vectors of one hash field in another datatype, or of other dimensions.

    Attributes:
        path: The hash field or JSON path, as it is called before the change.
        dims: Components of a vector before.
        distance_metric: Of the index afterwards; decides how integers are made.
        before: The datatype in Redis.
        after: The wanted one.
        quantization_before: How the integers in Redis were made, where `before` is one of integers and
            that is recorded.
        dims_changed: Components of a vector afterwards; None where they stay as many. Fewer are the first of
            them; more are the original ones where a backup has them, and zeros behind those that are left.
        renormalize: Where some are cut off, whether what is left gets length 1.
        new_path: Where the new form goes, to stay there beside the old one; None: it replaces that.
        is_way_back: What is at `new_path` is what that at `path` was made of: it stands where it is so still,
            and what was made of it goes in the end.
        is_json: The path is one of JSON documents, where vectors are arrays of numbers. Datatypes are a
            matter of the index there: they say how precisely new numbers are spelled.
    """

    path: str
    dims: int
    distance_metric: DistanceMetric
    before: Datatype
    after: Datatype
    quantization_before: Quantization | None = None
    dims_changed: int | None = None
    renormalize: bool = True
    new_path: str | None = None
    is_way_back: bool = False
    is_json: bool = False

    @model_serializer(mode="wrap")
    def _without_what_others_never_have(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Where no dimensions change and nothing gets another path, runs and plans are written as they were by
        # versions that knew nothing of it.
        content: dict[str, Any] = handler(self)
        if self.dims_changed is None:
            del content["dims_changed"], content["renormalize"]
        if self.new_path is None:
            del content["new_path"]
        if not self.is_way_back:
            del content["is_way_back"]
        if not self.is_json:
            del content["is_json"]
        return content

    @property
    def dims_after(self) -> int:
        """How many components a vector has afterwards."""
        return self.dims if self.dims_changed is None else self.dims_changed

    @property
    def cuts(self) -> bool:
        """Whether components are cut off."""
        return self.dims_after < self.dims

    @property
    def grows(self) -> bool:
        """Whether components come back that were cut off: no vector tells what they were."""
        return self.dims_after > self.dims

    @property
    def bytes_before(self) -> int:
        """How many bytes a vector had before; in JSON about, as text."""
        return self.dims * (JSON_BYTES_PER_COMPONENT if self.is_json else BYTES_PER_COMPONENT[self.before])

    @property
    def bytes_after(self) -> int:
        """How many bytes a vector has afterwards; in JSON about, as text."""
        of_one = JSON_BYTES_PER_COMPONENT if self.is_json else BYTES_PER_COMPONENT[self.after]
        return self.dims_after * of_one

    def is_old_form(self, value: bytes) -> bool:
        """Whether a value has the length of the old form; of an array in JSON, as many components."""
        return count_components(value) == self.dims if self.is_json else len(value) == self.bytes_before

    def is_new_form(self, value: bytes) -> bool:
        """Whether a value has the length of the new form, likewise."""
        return count_components(value) == self.dims_after if self.is_json else len(value) == self.bytes_after

    @property
    def changes_values(self) -> bool:
        """Whether values have to change: in JSON documents they don't for another datatype alone."""
        return self.dims_changed is not None or (self.before != self.after and not self.is_json)

    @property
    def has_one_width(self) -> bool:
        """Whether the length of a value does not tell in which datatype it is."""
        return self.bytes_before == self.bytes_after

    @property
    def makes_integers(self) -> bool:
        """Whether it quantizes: the new vectors are integers that a scale was found for."""
        return self.after in {"INT8", "UINT8"} and not self.is_json

    @property
    def has_integers(self) -> bool:
        """Whether the vectors are integers that stand for other numbers, before or after."""
        if self.is_json:
            return False
        return not {self.before, self.after}.isdisjoint({"INT8", "UINT8"})

    @property
    def has_one_scale(self) -> bool:
        """Whether it makes integers with one scale for all documents, and not one for each vector."""
        return self.makes_integers and self.distance_metric != "COSINE"

    @property
    def is_lossless(self) -> bool:
        """Whether every number comes back when it is converted there and back."""
        if self.cuts:
            return False
        return self.is_json or self.after in (self.before, *LOSSLESS.get(self.before, ()))

    def reversed(self) -> Recoding:
        """The recoding that takes this one back."""
        return replace(
            self,
            before=self.after,
            after=self.before,
            quantization_before=None,
            dims=self.dims_after,
            dims_changed=None if self.dims_changed is None else self.dims,
        )

    def other_way(self) -> Recoding:
        """What makes this one's old form of its new one, each where it stands if they have two paths."""
        other = self.reversed()
        if self.new_path is None:
            return other
        return replace(other, path=self.new_path, new_path=self.path, is_way_back=not self.is_way_back)

    def is_same_as(self, other: Recoding) -> bool:
        """Whether both make the same bytes: the metric decides about integers only.

        How the integers in Redis were made is not compared: an index may lack the record of it.
        """
        metric = self.distance_metric if self.makes_integers else other.distance_metric
        return replace(self, distance_metric=metric, quantization_before=None) == replace(
            other, quantization_before=None
        )

    def __str__(self) -> str:
        at = "" if self.new_path is None else f" at {self.new_path}"
        if self.is_json:
            return f"{self.path} from {self.dims} to {self.dims_after} components{at}"
        if self.dims_changed is None:
            return f"{self.path} from {self.before} to {self.after}{at}"
        return f"{self.path} from {self.dims} x {self.before} to {self.dims_after} x {self.after}{at}"


@dataclass(frozen=True)
class Rewrite:
    """All that one change of an index does to its documents; carried out in one pass.

    Attributes:
        storage_type: Of the documents.
        recodings: Vectors to re-encode, in place.
        renames: Values that move within their documents, after that.
        prefixes: Keys that move, after that.
        excluded_prefixes: Keys that an earlier change of the same revision has rewritten already.
        dropped: Hash fields or JSON paths whose values are removed, or brought back by what undoes that.
        storage: The other type that the documents get; None where they stay what they are.
    """

    storage_type: StorageType
    recodings: tuple[Recoding, ...] = ()
    renames: tuple[PathRename, ...] = ()
    prefixes: tuple[PrefixChange, ...] = ()
    excluded_prefixes: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    storage: StorageChange | None = None

    @model_serializer(mode="wrap")
    def _without_what_other_changes_never_have(
        self, handler: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        # What drops nothing and keeps the type of documents is written as by versions that could not do else.
        content: dict[str, Any] = handler(self)
        if not self.dropped:
            del content["dropped"]
        if self.storage is None:
            del content["storage"]
        return content

    @property
    def storage_after(self) -> StorageType:
        """The type of the documents afterwards."""
        return self.storage_type if self.storage is None else self.storage.to

    @property
    def changes_type_in_place(self) -> bool:
        """Whether documents become ones of the other type under the keys that they have."""
        return self.storage is not None and not self.prefixes

    @property
    def moves(self) -> bool:
        """Whether values or keys move, which nobody may write to meanwhile."""
        return bool(self.renames or self.prefixes)

    @property
    def reads_whole_documents(self) -> bool:
        """Whether values move by way of the client: within hashes they never leave the server."""
        return self.storage_type == "json" and bool(self.renames)

    @property
    def cut_as_they_are(self) -> tuple[str, ...]:
        """The paths, as they are called afterwards, of vectors that are cut off without getting length 1."""
        new_paths = {rename.old: rename.new for rename in self.renames}
        cut = (each for each in self.recodings if each.cuts and not each.renormalize)
        return tuple(each.new_path or new_paths.get(each.path, each.path) for each in cut)

    @property
    def recoded_paths(self) -> tuple[str, ...]:
        """The hash fields or JSON paths whose values change."""
        return tuple(recoding.path for recoding in self.recodings)

    def quantizations_after(
        self, definition: IndexDefinition, found: Mapping[str, Quantization]
    ) -> dict[str, Quantization]:
        """How the integers of an index stand for numbers once its documents were rewritten.

        Args:
            definition: An index that reads the documents, as it is afterwards, but with what is recorded of
                its integers from before.
            found: Hash field, as it was called before -> how the rewrite made integers.
        """
        new_paths = {rename.old: rename.new for rename in self.renames}
        new_paths |= {each.path: each.new_path for each in self.recodings if each.new_path is not None}
        fields = definition.schema.fields
        read = {(field.path_in("hash"), field.datatype) for field in fields if isinstance(field, VectorField)}
        kept = {
            path: value for path, value in definition.quantization.items() if path not in self.recoded_paths
        }
        after = {new_paths.get(path, path): value for path, value in {**kept, **found}.items()}
        return {path: value for path, value in after.items() if (path, value.datatype) in read}

    def key_after(self, key: bytes) -> bytes:
        """What the key of a document becomes; the same where it has been moved already."""
        for change in self.prefixes:
            old, new = encode(change.old), encode(change.new)
            if key.startswith(old) and not (new.startswith(old) and key.startswith(new)):
                return new + key.removeprefix(old)
        return key

    def reversed(self) -> Rewrite:
        """All of it taken back, where nothing is lost by it: see `keeps_all`."""
        # A form at a path of its own comes and goes like a value that gets another name.
        recodings = tuple(recoding.other_way() for recoding in self.recodings)
        names = {rename.old: rename.new for rename in self.renames}
        return replace(
            self.moves_reversed(),
            storage_type=self.storage_after,
            recodings=tuple(replace(each, path=names.get(each.path, each.path)) for each in recodings),
            storage=None if self.storage is None else self.storage.reversed(),
        )

    @property
    def keeps_all(self) -> bool:
        """Whether every value comes back, in its place, when the documents are rewritten there and back."""
        return all(each.is_lossless and not each.grows and each.new_path is None for each in self.recodings)

    def moves_reversed(self) -> Rewrite:
        """The moves back to where all was."""
        return Rewrite(
            self.storage_type,
            renames=tuple(PathRename(rename.new, rename.old) for rename in self.renames),
            prefixes=tuple(PrefixChange(prefix.new, prefix.old) for prefix in self.prefixes),
        )

    def moves_only(self) -> Rewrite:
        """What moves, without the recodings."""
        return Rewrite(self.storage_type, renames=self.renames, prefixes=self.prefixes)

    def without(self, other: Rewrite) -> Rewrite:
        """What this one does and another one does not."""
        return replace(
            self,
            recodings=tuple(r for r in self.recodings if not any(map(r.is_same_as, other.recodings))),
            renames=tuple(rename for rename in self.renames if rename not in other.renames),
            prefixes=tuple(prefix for prefix in self.prefixes if prefix not in other.prefixes),
            storage=None if self.storage == other.storage else self.storage,
        )

    def __bool__(self) -> bool:
        return bool(self.recodings or self.moves or self.dropped or self.storage)

    def __str__(self) -> str:
        parts = [f"re-encode {recoding}" for recoding in self.recodings]
        parts += [f"rename {rename}" for rename in self.renames]
        parts += [f"move keys {prefix}" for prefix in self.prefixes]
        parts += [f"drop the values at {path}" for path in self.dropped]
        parts += [] if self.storage is None else [str(self.storage)]
        return ", ".join(parts)
