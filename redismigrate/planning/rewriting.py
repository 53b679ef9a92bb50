"""What a change of an index does to its documents, as data that a plan can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from redismigrate.schema import IndexSchema, VectorField
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.fields import StorageType
from redismigrate.schema.moves import PathRename, PrefixChange
from redismigrate.schema.prefixes import KeyPrefixes
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
    def makes_integers(self) -> bool:
        """Whether it quantizes."""
        return self.after in {"INT8", "UINT8"}

    @property
    def has_one_scale(self) -> bool:
        """Whether it makes integers with one scale for all documents, and not one for each vector."""
        return self.makes_integers and self.distance_metric != "COSINE"

    @property
    def is_lossless(self) -> bool:
        """Whether every number comes back when it is converted there and back."""
        return self.after in LOSSLESS.get(self.before, ())

    def reversed(self) -> Recoding:
        """The way back."""
        return replace(self, before=self.after, after=self.before, quantization_before=None)

    def is_same_as(self, other: Recoding) -> bool:
        """Whether both make the same bytes: the metric decides about integers only.

        How the integers in Redis were made is not compared: an index may lack the record of it.
        """
        metric = self.distance_metric if self.makes_integers else other.distance_metric
        return replace(self, distance_metric=metric, quantization_before=None) == replace(
            other, quantization_before=None
        )

    def __str__(self) -> str:
        return f"{self.path} from {self.before} to {self.after}"


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
    def reads_whole_documents(self) -> bool:
        """Whether values move by way of the client: within hashes they never leave the server."""
        return self.storage_type == "json" and bool(self.renames)

    @property
    def recoded_paths(self) -> tuple[str, ...]:
        """The hash fields whose bytes change."""
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
        )

    def __bool__(self) -> bool:
        return bool(self.recodings or self.moves)

    def __str__(self) -> str:
        parts = [f"re-encode {recoding}" for recoding in self.recodings]
        parts += [f"rename {rename}" for rename in self.renames]
        parts += [f"move keys {prefix}" for prefix in self.prefixes]
        return ", ".join(parts)


@dataclass(frozen=True)
class DoneRewrite:
    """What an earlier change of the same revision does to documents that several indexes read.

    Attributes:
        index: The one that was changed, as it is called afterwards.
        prefixes: Of the index that was changed; none for all keys.
        rewrite: What was done.
    """

    index: str
    prefixes: tuple[str, ...]
    rewrite: Rewrite

    def remainder(self, index: str, prefixes: tuple[str, ...], rewrite: Rewrite) -> Rewrite:
        """What a further rewrite of documents with these prefixes still has to do.

        Args:
            index: The one that is to be changed now.
            prefixes: Of it; none for all keys.
            rewrite: What is asked for.

        Raises:
            ValueError: Of some of the documents something is done already, of others nothing; or they can't
                be found any more; or the index has a backup in this revision already. The text says so as the
                end of a sentence about the index.
        """
        if rewrite and index == self.index:
            raise ValueError("rewrites its documents twice: do it in one `with op.index` block")
        if rewrite.storage_type != self.rewrite.storage_type:
            return rewrite  # hashes and JSON documents under one prefix are different documents
        rest = self._rest(prefixes, rewrite)
        # Who reads all keys finds those that have moved, too.
        if (rest.recodings or rest.renames) and prefixes and self.takes_keys_of(prefixes):
            raise ValueError(
                "changes documents whose keys an earlier change of this revision moves: change them before"
            )
        return rest

    def takes_keys_of(self, prefixes: tuple[str, ...]) -> bool:
        """Whether it moves documents away from under these prefixes; none for all keys."""
        moved = [change.old for change in self.rewrite.prefixes]
        return bool(moved) and KeyPrefixes.of(moved).overlap(KeyPrefixes.of(prefixes))

    def moves_documents_of(self, schema: IndexSchema) -> bool:
        """Whether documents that it moves are, before or after that, among those of an index."""
        if schema.storage_type != self.rewrite.storage_type:
            return False
        gained = [change.new for change in self.rewrite.prefixes]
        gains = bool(gained) and KeyPrefixes.of(gained).overlap(KeyPrefixes.of(schema.prefixes))
        return gains or self.takes_keys_of(schema.prefixes)

    def _rest(self, prefixes: tuple[str, ...], rewrite: Rewrite) -> Rewrite:
        done = self.rewrite
        own, others = KeyPrefixes.of(self.prefixes), KeyPrefixes.of(prefixes)
        if not own.overlap(others):
            return rewrite
        rest = rewrite.without(done)
        for recoding in rest.recodings:
            if recoding.path in done.recoded_paths:
                raise ValueError(
                    f"re-encodes {recoding.path} of documents of which index {self.index} re-encodes it "
                    "otherwise: change both alike"
                )
        if rest == rewrite or all(map(own.cover, others.outermost)):
            return rest
        if rest or done.without(rewrite):
            raise ValueError(
                "shares some of its documents with another one that is changed differently: change both alike"
            )
        for recoding in rewrite.recodings:
            if recoding.has_one_scale:
                raise ValueError(
                    f"shares some of its documents with index {self.index}, and the integers of "
                    f"{recoding.path} have one scale for all of an index: change the index that covers all "
                    "of the documents first"
                )
        return replace(rewrite, excluded_prefixes=(*rewrite.excluded_prefixes, *self.prefixes))


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
    recodings: dict[str, Recoding] = {}
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
        known = recodings.get(path, recoding)
        if known.distance_metric != recoding.distance_metric:
            # Integers for several metrics need one scale and no offset, which is what those for IP have.
            recoding = replace(recoding, distance_metric="IP")
        if recoding.before != recoding.after:
            recodings[path] = recoding
    return tuple(recodings.values())
