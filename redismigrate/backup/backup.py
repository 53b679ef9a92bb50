"""Reading a backup: nothing is taken from it that is not, byte for byte, what was written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from redismigrate.backup.chunk_file import Chunk, MalformedChunk, parse_chunk
from redismigrate.backup.durable_files import UnexpectedFile, read_regular_file
from redismigrate.backup.manifest import (
    CHUNK_LIST,
    INTACT_COPY,
    MANIFEST,
    ChunkRecord,
    Manifest,
    damaged,
    is_temporary,
    load_manifest,
    number_of_chunk,
    read_chunk_list,
)
from redismigrate.backup.written import LOG, MalformedLog, Records, keeps_log, read_log, written_in
from redismigrate.errors import BackupDamaged

STRAY = "does not belong to the backup"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a backup.

    Attributes:
        file: Its name in the backup's folder.
        what: What is wrong with it, as the end of a sentence about it.
    """

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file} {self.what}"


def hint_for(problems: Sequence[Problem]) -> str:
    """What to do about a backup with these problems: what only stands beside it is no damage of its own."""
    strays = ", ".join(problem.file for problem in problems if problem.what == STRAY)
    hints = [INTACT_COPY] if any(problem.what != STRAY for problem in problems) else []
    if strays:
        hints.append(f"Move {strays} out of the folder: redismigrate has not written it.")
    return " ".join(hints)


@dataclass(frozen=True, slots=True)
class Backup:
    """The original values of an index's documents, on disk.

    Attributes:
        folder: Where it is.
        manifest: What it is of.
        records: Its durable chunks, whether the manifest lists them already or not.
        lost: The names of files that are known to be damaged: `chunks` passes over those that are chunks, and
            does without what was noted of all of them.
        is_fresh: This very process has just written it: the CRCs in its files are checked, not their sha256.
    """

    folder: Path
    manifest: Manifest
    records: tuple[ChunkRecord, ...]
    lost: frozenset[str] = frozenset()
    is_fresh: bool = False

    @classmethod
    def open(cls, folder: Path) -> Backup:
        """Read what a backup is of; its chunks are neither read nor checked yet.

        Raises:
            BackupDamaged: There is none, or its manifest or its list of chunks is not as it was written.
        """
        manifest = load_manifest(folder)
        listed, _ = read_chunk_list(folder, manifest)
        return cls(folder, manifest, manifest.chunks + listed)

    @property
    def knows_written(self) -> bool:
        """Whether it can tell what was written in the place of its values; those of older versions can't."""
        return keeps_log(self.manifest) and LOG not in self.lost

    @property
    def documents(self) -> int:
        """In all chunks; one that was backed up twice counts twice."""
        return sum(record.documents for record in self.records)

    @property
    def size_bytes(self) -> int:
        """Of the files of all chunks."""
        return sum(record.bytes for record in self.records)

    @property
    def lost_chunks(self) -> int:
        """How many chunks are known to be damaged."""
        return sum(record.file in self.lost for record in self.records)

    @property
    def lost_documents(self) -> int:
        """In the chunks that are known to be damaged."""
        return sum(record.documents for record in self.records if record.file in self.lost)

    def count(self, option: str) -> int | None:
        """A number of documents that the run has noted among the options; None where it has not.

        Args:
            option: `kept`, those before anything was changed, or `read`, those that were looked at.

        Raises:
            BackupDamaged: What stands there is no number of documents.
        """
        options = self.manifest.options
        count = options.get(option) if isinstance(options, dict) else None
        if count is not None and (type(count) is not int or count < 0):
            raise damaged(
                self.folder, f"{MANIFEST} says {option}: {count!r}, which is no number of documents"
            )
        return count

    def chunks(self) -> Iterator[Chunk]:
        """All chunks in the order in which they were written, one in memory at a time.

        Each says what was written in the place of its values, as far as that is known when this is called.

        A key may occur in several; the later one is newer. `verify` first, where half a restore is worse
        than none.

        Raises:
            BackupDamaged: The next chunk is not as it was written; nothing of it was parsed. Or what was
                noted of all of them is not.
        """
        try:
            log = None if LOG in self.lost else read_log(self.folder, self.manifest)
        except MalformedLog as problem:
            raise damaged(self.folder, f"{LOG} {problem}") from None
        for record in self.records:
            if record.file in self.lost:
                continue
            try:
                chunk = self._read(record, log)
            except (UnexpectedFile, MalformedChunk) as problem:
                raise damaged(self.folder, f"{record.file} {problem}") from None
            yield chunk

    def verify(self, problem_of: Callable[[Chunk], str | None] = lambda _: None) -> list[Problem]:
        """Read every chunk; what is wrong with the backup, empty when nothing is.

        Args:
            problem_of: What else is wrong with a chunk, as the end of a sentence about it; None for nothing.
        """
        problems = self._damage(problem_of)
        known = {record.file for record in self.records} | {MANIFEST, CHUNK_LIST}
        # It is made right before the manifest names it, and says that the backup is complete.
        if keeps_log(self.manifest) or not self.manifest.complete:
            known.add(LOG)
        unknown = sorted(
            entry.name
            for entry in self.folder.iterdir()
            if entry.name not in known and not is_temporary(entry)
        )
        return problems + [Problem(name, STRAY) for name in unknown]

    def require_intact(self, problem_of: Callable[[Chunk], str | None] = lambda _: None) -> None:
        """Read every chunk before anything is taken from the backup.

        Args:
            problem_of: As for `verify`.

        Raises:
            BackupDamaged: It is not as it was written; names every file that is wrong.
        """
        problems = self.verify(problem_of)
        if problems:
            error = damaged(self.folder, "; ".join(map(str, problems)))
            raise BackupDamaged(error.message, hint_for(problems))

    def without_damaged(self, problem_of: Callable[[Chunk], str | None] = lambda _: None) -> Backup:
        """What is left of it: reads every chunk, and has those that are damaged as `lost`.

        Args:
            problem_of: As for `verify`.
        """
        return replace(self, lost=frozenset(problem.file for problem in self._damage(problem_of)))

    def _damage(self, problem_of: Callable[[Chunk], str | None]) -> list[Problem]:
        """What is wrong with its chunks, and with what was noted of them."""
        problems, log = [], None
        try:
            log = read_log(self.folder, self.manifest)
        except MalformedLog as error:
            problems.append(Problem(LOG, str(error)))
        for record in self.records:
            try:
                problem = problem_of(self._read(record, log))
            except (UnexpectedFile, MalformedChunk) as error:
                problem = str(error)
            if problem is not None:
                problems.append(Problem(record.file, problem))
        return problems

    def _read(self, record: ChunkRecord, log: Records | None) -> Chunk:
        data = read_regular_file(self.folder / record.file, record.bytes)
        if not self.is_fresh and hashlib.sha256(data).hexdigest() != record.sha256:
            raise MalformedChunk("was changed after it was written (its sha256 differs)")
        chunk = parse_chunk(data)
        if len(chunk.documents.keys) != record.documents:
            raise MalformedChunk(f"holds {len(chunk.documents.keys)} documents, expected {record.documents}")
        if tuple(chunk.documents.columns) != self.manifest.fields:
            raise MalformedChunk(
                f"holds the fields {list(chunk.documents.columns)}, not those of the manifest"
            )
        number = number_of_chunk(record.file)
        written = written_in(chunk, number, self.manifest.fields, log)
        return replace(chunk, number=number, written=written)
