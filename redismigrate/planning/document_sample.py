"""What a sample of an index's documents says about all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from redismigrate.documents.rewrite import Rewrite
from redismigrate.documents.word_counts import WordCounts

# What reading a document takes on the reference machine (see `redismigrate.planning.estimates`), read as a
# sample is: HGET in redis-py pipelines of 100, over loopback, the round trip left out.
REFERENCE_READ_SECONDS = 4.0e-6
REFERENCE_READ_SECONDS_PER_BYTE = 0.5e-9
# A sample takes a few milliseconds, so that chance has its part: no factor beyond these is believed.
LEAST_SLOWNESS, MOST_SLOWNESS = 0.5, 20.0


@dataclass(frozen=True)
class FieldSample:
    """One hash field or JSON path.

    Attributes:
        share: Of the documents that have it, 0 to 1.
        mean_bytes: Of its values, where there is one.
        wrong_length: Values that are no vector of the live datatype, by their length; 0 for other fields.
        smallest: The smallest component of its vectors, as the numbers in Redis; None where none was read.
        largest: The largest component.
        overlaps: Dimensions that a revision truncates its vectors to -> which share of the ten nearest
            neighbours of a vector stay the same, 0 to 1; nothing where the sample is too small.
        vectors: How many vectors that was found by.
        words: Of texts and tags, where some were read.
    """

    share: float
    mean_bytes: float
    wrong_length: int = 0
    smallest: float | None = None
    largest: float | None = None
    overlaps: Mapping[int, float] = field(default_factory=dict)
    vectors: int = 0
    words: WordCounts | None = None

    @property
    def largest_magnitude(self) -> float | None:
        """The largest absolute component, which the scale of INT8 follows from."""
        if self.smallest is None or self.largest is None:
            return None
        return max(abs(self.smallest), abs(self.largest))


@dataclass(frozen=True)
class DocumentSample:
    """Some documents of an index, picked by chance.

    Attributes:
        documents: How many were looked at.
        key_bytes: Mean length of their keys.
        read_seconds: Wall seconds for reading one of them among many, without the round trip.
        read_bytes: Mean bytes of what was read for that.
        fields: Hash field or JSON path -> what it looks like.
        keys: Some of their keys.
        both: Where a value is and where a revision moves it -> how many documents have a value at either.
        names: The fields of some hashes, or the members of JSON documents; empty where nobody asked.
        is_current: Whether no function and no other index is planned before to write to the documents.
    """

    documents: int
    key_bytes: float
    read_seconds: float
    read_bytes: float
    fields: Mapping[str, FieldSample] = field(default_factory=dict)
    keys: tuple[bytes, ...] = ()
    both: Mapping[tuple[str, str], int] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    is_current: bool = True

    def having(self, path: str) -> int:
        """How many of them have a value at a hash field or JSON path."""
        found = self.fields.get(path)
        return 0 if found is None else round(found.share * self.documents)

    @property
    def slowness(self) -> float:
        """How many times longer than on the reference machine things take."""
        reference = REFERENCE_READ_SECONDS + REFERENCE_READ_SECONDS_PER_BYTE * self.read_bytes
        return min(max(self.read_seconds / reference, LEAST_SLOWNESS), MOST_SLOWNESS)

    def after(self, rewrite: Rewrite) -> DocumentSample:
        """The sample as it would be of the rewritten documents; the same when it is so already."""
        fields, touched = dict(self.fields), set[str]()
        for recoding in rewrite.recodings:
            touched.add(recoding.new_path or recoding.path)
            if recoding.path in fields:
                fields[recoding.new_path or recoding.path] = replace(
                    fields[recoding.path],
                    mean_bytes=recoding.bytes_after,
                    wrong_length=0,
                    smallest=None,
                    largest=None,
                )
        for rename in rewrite.renames:
            touched |= {rename.old, rename.new}
            if rename.old in fields:
                fields[rename.new] = fields.pop(rename.old)
        for path in rewrite.dropped:
            touched.add(path)
            if path in fields:
                fields[path] = FieldSample(0.0, 0.0)
        renamed = {rename.old: rename.new for rename in rewrite.renames}
        return replace(
            self,
            fields=fields,
            keys=tuple(rewrite.key_after(key) for key in self.keys),
            both={pair: count for pair, count in self.both.items() if touched.isdisjoint(pair)},
            names=tuple(renamed.get(name, name) for name in self.names if name not in rewrite.dropped),
            is_current=self.is_current and rewrite.storage is None,
        )


def share_of(sample: DocumentSample | None, path: str) -> float:
    """The share of the documents that have a value; 1 where that was not looked at."""
    found = None if sample is None else sample.fields.get(path)
    return 1.0 if found is None else found.share


def bytes_of(sample: DocumentSample | None, path: str, usual: float) -> float:
    """Mean bytes of a value over all documents, those without one included.

    Args:
        sample: Of the documents; None where there is none.
        path: The hash field or JSON path.
        usual: What to say where it was not looked at.
    """
    found = None if sample is None else sample.fields.get(path)
    return usual if found is None else found.share * found.mean_bytes
