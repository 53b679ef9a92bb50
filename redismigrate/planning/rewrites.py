"""What a change of an index does to its documents, as data that a plan can hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from redismigrate.documents.rewrite import Recoding, Rewrite
from redismigrate.operations.block_moves import (
    moves_of,
    second_paths_of,
    storage_change_of,
    truncations_of,
)
from redismigrate.operations.changes import IndexChange, prefixes_changed
from redismigrate.schema import IndexSchema, VectorField
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.moves import PathRename, PrefixChange
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.schema.quantization import Quantization


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


def rewrite_of(
    old: IndexDefinition,
    new: IndexDefinition,
    changes: Sequence[IndexChange],
    *,
    is_way_back: bool = False,
    cut_as_they_are: Iterable[str] = (),
    drops_field_ttls: bool = False,
) -> Rewrite:
    """What the changes of one block do to the documents of their index.

    Args:
        old: The index before them.
        new: The index after them.
        changes: All of them, in order.
        is_way_back: Vectors may get components back that were cut off.
        cut_as_they_are: On that way, the paths of those that were cut off without getting length 1.
        drops_field_ttls: Fields of hashes that expire may become members of JSON documents that do not.

    Raises:
        SchemaError: They can't be applied, or not together.
    """
    storage = storage_change_of(changes, old.schema)
    if storage is not None:
        prefixes = tuple(PrefixChange(*pair) for change in changes for pair in prefixes_changed(change))
        storage = replace(storage, drops_field_ttls=drops_field_ttls)
        return Rewrite(old.schema.storage_type, prefixes=prefixes, storage=storage)
    renames, prefixes = moves_of(changes, old.schema)
    recodings = recodings_of(
        old.schema,
        new.schema,
        renames,
        old.quantization,
        dict.fromkeys(cut_as_they_are, False) | truncations_of(changes, old.schema),
        second_paths_of(changes, old.schema),
        is_way_back=is_way_back,
    )
    return Rewrite(old.schema.storage_type, recodings, renames, prefixes)


def unmade_forms(changes: Sequence[IndexChange], before: IndexSchema, rewrite: Rewrite) -> Iterator[str]:
    """What changes ask for at paths of their own, and nothing can make.

    Args:
        changes: Of one block, in order.
        before: The index before them.
        rewrite: What they do to its documents.
    """
    made = {recoding.new_path for recoding in rewrite.recodings}
    for path, new_path in second_paths_of(changes, before).items():
        if new_path not in made:
            yield (
                f"vectors at {path} of index {before.name} can't be made longer for {new_path}: where the "
                "application has written longer ones there, let the index read them by "
                "alter_field(name, dims=..., path=...) alone, without attribute="
            )


def recodings_of(
    before: IndexSchema,
    after: IndexSchema,
    renames: Iterable[PathRename],
    quantizations: dict[str, Quantization],
    truncations: Mapping[str, bool] | None = None,
    second_paths: Mapping[str, str] | None = None,
    *,
    is_way_back: bool = False,
) -> tuple[Recoding, ...]:
    """The vectors of documents that have to change, or get another form beside.

    JSON documents hold vectors as numbers: there a datatype is a matter of the index alone.

    Args:
        before: The index as it is.
        after: The index as it is wanted.
        renames: What moves between the two.
        quantizations: Hash field -> how its integers were made, as recorded.
        truncations: Hash field or JSON path, as it is called before -> whether what is left of its vectors
            gets length 1.
        second_paths: Path of vectors -> the one where they get another form beside.
        is_way_back: Vectors may get components back that were cut off.
    """
    truncated = truncations or {}
    beside = second_paths or {}
    storage_type = before.storage_type
    if after.storage_type != storage_type:
        return ()
    is_json = storage_type == "json"
    old_paths = {rename.new: rename.old for rename in renames} | {new: path for path, new in beside.items()}
    old = {field.path_in(storage_type): field for field in before.fields if isinstance(field, VectorField)}
    recodings: dict[str, Recoding] = {}
    for field in after.fields:
        found = field.path_in(storage_type)
        path = old_paths.get(found, found)
        new_path = found if beside.get(path) == found else None
        source = old.get(path)
        if not isinstance(field, VectorField) or source is None:
            continue
        is_resized = path in truncated or (is_way_back and source.dims < field.dims)
        if source.dims != field.dims and not is_resized:
            continue
        recoding = Recoding(
            path,
            source.dims,
            field.distance_metric,
            source.datatype,
            field.datatype,
            quantizations.get(path),
            None if source.dims == field.dims else field.dims,
            truncated.get(path, True),
            new_path,
            is_way_back=is_way_back and new_path is not None,
            is_json=is_json,
        )
        known = recodings.get(path, recoding)
        if known.distance_metric != recoding.distance_metric:
            # Integers for several metrics need one scale and no offset, which is what those for IP have.
            recoding = replace(recoding, distance_metric="IP")
        if recoding.changes_values:
            recodings[path] = recoding
    return tuple(recodings.values())
