"""A rewrite of the documents of one index: what it costs, what forbids it, what to know before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from redismigrate.documents.rewrite import Recoding, Rewrite
from redismigrate.documents.twins import twins_of
from redismigrate.documents.whole import WHOLE_COLUMN
from redismigrate.operations.recorded import RecordedRevision, names_after, names_dropped, touched_indexes
from redismigrate.planning.document_estimates import (
    backup_estimate,
    catch_up_estimate,
    expected_quantizations,
    is_sparse,
    rewrite_estimate,
    saved_bytes_of,
    second_form_estimate,
    without_scan,
)
from redismigrate.planning.document_obstacles import what_forbids_rewriting, why_not_in_cluster
from redismigrate.planning.document_sample import share_of
from redismigrate.planning.estimates import documents_of
from redismigrate.planning.index_steps import RewriteCosts
from redismigrate.planning.inventory import Inventory, backups_that_hold
from redismigrate.planning.overlap import overlap_problems
from redismigrate.planning.plan import Estimate
from redismigrate.planning.second_form_steps import SecondFormCosts
from redismigrate.planning.step_life import Strategy
from redismigrate.quantities import size_text
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.schema.quantization import Quantization, uint8_problem

# Below this share of neighbours that stay, truncating is told to be a mistake, most likely.
LEAST_OVERLAP = 0.8


@dataclass(frozen=True)
class DocumentChange:
    """A change of one index that rewrites its documents, and what it meets.

    Attributes:
        recorded: The revision that it belongs to.
        start: The indexes before that revision, those among them that it brings under management.
        old: The index as it is.
        new: The index as it is wanted.
        rewrite: What happens to the documents.
        inventory: The server as it is now.
        exclusive: Nobody else writes to the documents meanwhile.
        allow_lossy: Go back although something can't be brought back.
        is_beside: The documents get a second form, and writers are followed.
    """

    recorded: RecordedRevision
    start: Catalog
    old: IndexDefinition
    new: IndexDefinition
    rewrite: Rewrite
    inventory: Inventory
    exclusive: bool
    allow_lossy: bool
    is_beside: bool = False

    def costs(self, build: Estimate) -> RewriteCosts:
        """What it costs.

        Args:
            build: Of the new index, by a scan of all keys.
        """
        old, rewrite, inventory = self.old, self.rewrite, self.inventory
        # Of a document without a field that a FILTER names, a scan and a write decide differently.
        sparse = is_sparse(old, inventory) and self.new.schema.filter is None and rewrite.storage is None
        return RewriteCosts(
            backup_estimate(old, rewrite, inventory),
            rewrite_estimate(old, rewrite, inventory, exclusive=self.exclusive),
            without_scan(build, old, inventory) if sparse else build,
            catch_up_estimate(old, rewrite, inventory) if self._catches_up else None,
            sparse,
            self.restores_from,
            expected_quantizations(old, rewrite, inventory),
            self.is_all_indexed,
            self.counts_on_none,
        )

    @property
    def _catches_up(self) -> bool:
        """Whether what writers write meanwhile is converted.

        Which documents a FILTER keeps out can't be told then, nor where a value is that has moved.
        """
        if self.exclusive or self.rewrite.prefixes or self.old.schema.filter is not None:
            return False
        return not {rename.old for rename in self.rewrite.renames} & set(self.rewrite.recoded_paths)

    def second_form_costs(self, build: Estimate, strategy: Strategy) -> SecondFormCosts:
        """What it costs with search up, by a second form beside the first.

        Args:
            build: Of an index over it.
            strategy: How.
        """
        old, rewrite, inventory = self.old, self.rewrite, self.inventory
        copy = second_form_estimate(old, rewrite, inventory)
        # Every write to a document indexes it once more.
        seconds = round(copy.seconds + build.seconds, 2)
        in_place = rewrite_estimate(old, rewrite, inventory, exclusive=self.exclusive)
        memory = {name: getattr(in_place, name) for name in ("memory_bytes", "kept_memory_bytes")}
        again = copy.model_copy(update={"seconds": seconds, **memory})
        remove = Estimate(documents=copy.documents, seconds=seconds, kept_memory_bytes=-copy.memory_bytes)
        is_backed_up = strategy == "shadow_field" and not twins_of(rewrite)
        backup = backup_estimate(old, rewrite, inventory) if is_backed_up else None
        return SecondFormCosts(backup, copy, build, again, remove)

    def problems(self, documents: int) -> Iterator[str]:
        """Why it can't be done as things are.

        Args:
            documents: How many the index has.
        """
        if not self.is_beside:
            yield from what_forbids_rewriting(
                self.old,
                self.rewrite,
                self.inventory,
                exclusive=self.exclusive or self._is_empty,
                is_made=self._is_made,
            )
        elif self.inventory.capabilities.is_cluster:
            yield why_not_in_cluster(self.old)
        # What a downgrade gives up still reads its documents.
        final = self.recorded.apply_operations(self.start)
        touched = [name for name in touched_indexes((self.recorded,)) if name in self.start]
        dropped = names_dropped(self.recorded.operations, touched)
        changed_too = {
            self.start[name].physical: final[now].schema if now in final and name not in dropped else None
            for name, now in names_after(self.recorded.operations, touched).items()
        }
        yield from overlap_problems(self.old, self.new, self.rewrite, self.inventory.schemas, changed_too)
        yield from self._what_integers_forbid()
        if self._loses_precision and documents and not self.allow_lossy and not self.restores_from:
            yield self._what_is_lost()
        is_way_back = self.rewrite.changes_type_in_place and self.recorded.direction == "downgrade"
        if is_way_back and documents and not self.allow_lossy and not self.restores_from:
            yield self._what_is_not_here()

    @property
    def _is_empty(self) -> bool:
        return self.old.physical in self.inventory.empty

    @property
    def _is_made(self) -> bool:
        return self.inventory.is_made(self.old.served)

    @property
    def counts_on_none(self) -> bool:
        """Whether it is allowed only because the index has no documents."""
        if self.exclusive or self.is_beside or not self._is_empty:
            return False
        return any(
            what_forbids_rewriting(
                self.old, self.rewrite, self.inventory, exclusive=False, is_made=self._is_made
            )
        )

    def warnings_beside(self) -> Iterator[str]:
        """What the user should know before it is done with search up."""
        quantizations = expected_quantizations(self.old, self.rewrite, self.inventory)
        yield from self._warnings(quantizations)

    def warnings(self, costs: RewriteCosts) -> Iterator[str]:
        """What the user should know before."""
        yield from self._warnings(costs.quantizations)
        if self.rewrite.moves and costs.rewrite.documents and not self.exclusive and self._is_made:
            yield (
                f"index {self.new.served} is made in this run, so writers need not be paused for it: what "
                "they write in the old form of its documents meanwhile stays so "
                f"({self.rewrite.moves_only()})"
            )

    def _warnings(self, quantizations: Mapping[str, Quantization]) -> Iterator[str]:
        for path, quantization in quantizations.items():
            yield (
                f"{path} of {self.new.served} becomes {quantization}, by a sample; the pass over all "
                "documents finds the exact one"
            )
        for recoding in self.rewrite.recodings:
            if recoding.cuts:
                yield from self._what_truncating_does(recoding)
            if recoding.new_path is not None:
                continue  # which form a value has is known by where it stands
            if recoding.grows and not self.exclusive:
                yield (
                    f"what writers write to {recoding.path} of {self.new.served} with {recoding.dims} "
                    "numbers meanwhile gets zeros behind them: pause them, or write it anew afterwards"
                )
            if recoding.has_one_width and not self.exclusive:
                yield (
                    f"{recoding.before} and {recoding.after} are equally long: whatever writers write to "
                    f"{recoding.path} until the revision is recorded is taken for {recoding.before}"
                )

    def _what_truncating_does(self, recoding: Recoding) -> Iterator[str]:
        """What it saves in the documents, and what searches find afterwards, by the sample."""
        sample = self.inventory.samples.get(self.old.served)
        documents = documents_of(self.old, self.inventory)
        saved_bytes = documents * share_of(sample, recoding.path) * saved_bytes_of(recoding, sample)
        found = None if sample is None else sample.fields.get(recoding.path)
        overlap = None if found is None else found.overlaps.get(recoding.dims_after)
        kept = (
            "how many of the nearest neighbours stay the same is not known: there are too few vectors to tell"
            if found is None or overlap is None
            else f"of the 10 nearest neighbours of a vector {overlap:.0%} stay the same, in a sample of "
            f"{found.vectors:,} (overlap@10)"
        )
        if not documents:
            return
        yield (
            f"{recoding.path} of {self.new.served} keeps {recoding.dims_after} of {recoding.dims} "
            f"components, which saves {size_text(round(saved_bytes))} in the documents; {kept}"
            if recoding.new_path is None
            else f"{recoding.new_path} of {self.new.served} gets {recoding.dims_after} of the "
            f"{recoding.dims} components of {recoding.path}, which stays until index.drop_values; {kept}"
        )
        if overlap is not None and overlap < LEAST_OVERLAP:
            yield (
                f"the model that made {recoding.path} of {self.new.served} seems not to be trained for "
                "vectors that are truncated (Matryoshka representations): searches will find other documents"
            )

    def _what_integers_forbid(self) -> Iterator[str]:
        """Which vectors of the sample have no form in UINT8; the pass over all documents finds the others."""
        sample = self.inventory.samples.get(self.old.served)
        for recoding in self.rewrite.recodings:
            if recoding.cuts and recoding.distance_metric != "COSINE" and recoding.has_integers:
                yield (
                    f"{recoding.path} of index {self.old.served}: integers have one scale under "
                    f"{recoding.distance_metric}, which does not fit vectors that are truncated: truncate "
                    "them in a revision of its own, while they are floats"
                )
            found = None if sample is None else sample.fields.get(recoding.path)
            if recoding.after != "UINT8" or sample is None or found is None or found.smallest is None:
                continue
            problem = uint8_problem(recoding.distance_metric, found.smallest)
            if problem is not None:
                yield (
                    f"{recoding.path} of index {self.old.served}: {problem}. In a sample of "
                    f"{sample.documents:,} documents components are {found.smallest:.6g} to "
                    f"{found.largest:.6g}: use INT8"
                )

    @property
    def _loses_precision(self) -> bool:
        """Whether it undoes a conversion that has lost some: the originals are in a backup only."""
        if self.recorded.direction == "upgrade":
            return False
        return any(not each.reversed().is_lossless for each in self._replacing)

    @property
    def _replacing(self) -> tuple[Recoding, ...]:
        """What takes the place of another form: elsewhere the original stands in the document still."""
        return tuple(each for each in self.rewrite.recodings if each.new_path is None)

    @property
    def restores_from(self) -> tuple[str, ...]:
        """The backups of the revision that is undone, where a conversion back can't give the originals.

        Where several indexes read the same documents, any of them may have been the one that was rewritten.
        """
        if self.rewrite.storage is not None:
            is_back = self.recorded.direction == "downgrade" and not self.is_beside
            return self._backups_of({WHOLE_COLUMN}) if is_back else ()
        if not self._loses_precision:
            return ()
        new_paths = {rename.old: rename.new for rename in self.rewrite.renames}
        paths = {
            new_paths.get(recoding.path, recoding.path)
            for recoding in self._replacing
            if not recoding.reversed().is_lossless
        }
        return self._backups_of(paths)

    def _backups_of(self, paths: set[str]) -> tuple[str, ...]:
        """The backups of the revision that is undone that have some columns, if they hold all documents."""
        found = backups_that_hold(
            [
                backup
                for (revision, _), backup in self.inventory.backups.items()
                if revision == self.recorded.revision and backup.is_here and paths <= set(backup.paths)
            ],
            self.new.schema.prefixes,
        )
        return tuple(backup.location for backup in found)

    def _what_is_lost(self) -> str:
        lossy = next(r for r in self._replacing if not r.reversed().is_lossless)
        backup = self.inventory.backups.get((self.recorded.revision, self.old.served))
        where = f"its backup {backup.location} is not here" if backup else "there is no backup of it"
        what = f"{lossy.path} of index {self.old.served}"
        lost = (
            f"revision {self.recorded.revision} has truncated {what} to {lossy.dims} dimensions"
            if lossy.grows
            else f"revision {self.recorded.revision} has re-encoded {what} to {lossy.before}, which lost "
            "precision"
        )
        fold = self.inventory.folds.get(self.recorded.revision, ())
        if fold and backup is None:
            others = ", ".join(each for each in fold if each != self.recorded.revision)
            return (
                f"{lost}, as one with {others}: the backup of that fold lacks the form in between. Undo all "
                "of it at once, by a downgrade with --fold to a revision before it, or convert what is left "
                "with --allow-lossy"
            )
        problems = [
            f"{known.problem.message} {known.problem.hint}"
            for (revision, _), known in self.inventory.backups.items()
            if revision == self.recorded.revision and known.problem is not None
        ]
        if problems:
            return (
                f"{lost}. {' '.join(problems)} Or name the folder of other copies with --backup-dir, or "
                "make do with what is left by --allow-lossy"
            )
        return (
            f"{lost}, and {where}: name the folder of the backups with --backup-dir, or convert what is left "
            "with --allow-lossy"
        )

    def _what_is_not_here(self) -> str:
        """That documents can't get back what they were, to the byte."""
        backup = self.inventory.backups.get((self.recorded.revision, self.old.served))
        problem = None if backup is None else backup.problem
        where = "there is no backup" if backup is None else f"the backup {backup.location} is not here"
        if problem is not None:
            where = problem.message.rstrip(".")
        return (
            f"the documents of index {self.old.served} come back byte for byte from the backup of revision "
            f"{self.recorded.revision} alone, and {where}: name the folder of the backups with --backup-dir, "
            "or convert all of them back with --allow-lossy"
        )

    @property
    def is_all_indexed(self) -> bool:
        """Whether the index has met no document that it can't take; what it never scanned is not known."""
        live = self.inventory.live.get(self.old.physical)
        has_failures = live is None or live.statistics.indexing_failures
        return not (has_failures or self.old.schema.skip_initial_scan)
