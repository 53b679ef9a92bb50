"""How many words texts have, by a sample: what a full-text index of them takes follows from that."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_WORD = re.compile(r"\w+")
# Those that Redis Search leaves out unless an index has its own.
_STOPWORDS = frozenset(
    [
        "a",
        "is",
        "the",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "for",
        "if",
        "in",
        "into",
        "it",
        "no",
        "not",
        "of",
        "on",
        "or",
        "such",
        "that",
        "their",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "was",
        "will",
        "with",
    ]
)
# About where the stem of an English word is another word, which is indexed beside it.
_ENDINGS = ("s", "e", "y", "ed", "ing", "al", "er", "ion", "ive", "ment", "able", "ance")
_ENDING = re.compile(rf"(?:{'|'.join(_ENDINGS)})+$")
_SHORTEST_STEM = 3
# Of two laws: words that go on as they came, which tells too many, and no more than those that were seen once
# promise, which tells too few.
_SHARE_OF_SEEN_ONCE = 1 / 3


@dataclass(frozen=True)
class WordCounts:
    """Words of one field, as an index keeps them: without stopwords, with stems.

    Attributes:
        documents: Of how many the different words are counted.
        words: Mean words of one document, each as often as it occurs.
        entries: Mean different words of one document.
        letters: Mean bytes of a different word.
        distinct: Different words of all documents together, of half of them, and of a quarter.
        seen_once: Those of them that one document has.
        seen_twice: Those that two have.
    """

    documents: int
    words: float
    entries: float
    letters: float
    distinct: tuple[float, float, float]
    seen_once: int
    seen_twice: int

    def distinct_among(self, documents: float) -> float:
        """About how many different words more documents have.

        Args:
            documents: How many have such a field, not less than were read.
        """
        known, half, quarter = self.distinct
        doublings = math.log2(max(1.0, documents / max(1, self.documents)))
        if not doublings or not known:
            return known
        # How fast they grow falls with every doubling, about as it has fallen so far.
        grows = math.log2(known / half) if half else 1.0
        falls = max(0.0, (math.log2(half / quarter) if quarter else 1.0) - grows)
        exponent = 0.0
        while doublings > 0:
            grows = max(0.0, grows - falls)
            exponent += grows * min(1.0, doublings)
            doublings -= 1
        unseen = self.seen_once**2 / (2 * max(1, self.seen_twice))
        promised = known
        if unseen:
            more = documents / self.documents - 1
            promised += unseen * (1 - math.exp(-more * self.seen_once / unseen))
        grown = min(known * 2**exponent, self.entries * documents)
        return float(grown ** (1 - _SHARE_OF_SEEN_ONCE) * promised**_SHARE_OF_SEEN_ONCE)


def words_of_texts(texts: Iterable[str], *, has_stopwords: bool, has_stems: bool) -> WordCounts | None:
    """What texts of some documents have; None without any.

    Args:
        texts: One of each document, picked by chance.
        has_stopwords: The usual ones are left out.
        has_stems: Stems of words are indexed, too.
    """
    stems: dict[str, str] = {}
    documents = []
    for text in texts:
        words = Counter(_WORD.findall(text.lower()))
        if has_stopwords:
            words = Counter({word: count for word, count in words.items() if word not in _STOPWORDS})
        if has_stems:
            for word, count in tuple(words.items()):
                if len(word) > _SHORTEST_STEM and word.endswith(_ENDINGS):
                    stem = stems.get(word)
                    if stem is None:
                        stem = stems[word] = "+" + _stem_of(word)
                    words[stem] += count
        documents.append(words)
    return _counted(documents)


def words_of_tags(texts: Iterable[str], separator: str) -> WordCounts | None:
    """What tags of some documents are; None without any.

    Args:
        texts: One of each document, picked by chance.
        separator: Between tags.
    """
    return _counted([Counter(tag.strip(' []"').lower() for tag in text.split(separator)) for text in texts])


def _stem_of(word: str) -> str:
    return word[:_SHORTEST_STEM] + _ENDING.sub("", word[_SHORTEST_STEM:])


def _counted(documents: Sequence[Counter[str]]) -> WordCounts | None:
    if not documents:
        return None
    # Halves and quarters have to be that.
    even = documents[: len(documents) - len(documents) % 4] or documents
    size = -(-len(even) // 4)
    first, second, third, fourth = (
        set[str]().union(*even[start : start + size]) for start in range(0, 4 * size, size)
    )
    found = Counter[str]()
    for words in even:
        found.update(words.keys())
    often = Counter(found.values())
    quarter = sum(map(len, (first, second, third, fourth))) / 4
    half = (len(first | second) + len(third | fourth)) / 2
    return WordCounts(
        documents=len(even),
        words=sum(words.total() for words in documents) / len(documents),
        entries=sum(map(len, documents)) / len(documents),
        letters=sum(map(len, found)) / max(1, len(found)),
        distinct=(len(found), half, quarter),
        seen_once=often[1],
        seen_twice=often[2],
    )
