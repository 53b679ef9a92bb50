"""Compares what a page shows with what a command printed, where ids and times are others in every run."""

from __future__ import annotations

import re

URL = "redis://127.0.0.1:7379"
HOME = "/home/ada"
WHO = "ada@laptop"

# Behind an id in the name of a script stands an underscore, which is no end of a word to `\b`.
_REVISION = r"(?<![0-9A-Za-z])[0-9a-f]{12}(?![0-9A-Za-z])"
# What differs from run to run: as a page has it -> as a run may have it. The first that fits counts.
_VARYING = {
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?",
    r"(?<!\w)[0-9a-f]{64}(?!\w)": r"[0-9a-f]{64}",
    re.escape(WHO): r"[\w.-]+@[\w.-]+",
    r"process \d+": r"process \d+",
    # What takes less than can be told on one machine takes longer on another.
    r"(?<!\w)(?:\d+\.\d+|<0\.1) s": r"(?:\d+\.\d+|<0\.1) s",
    r"\d+\.\d+": r"\d+\.\d+",
    "…": ".*",
}
_TOKEN = re.compile("|".join([f"(?P<revision>{_REVISION})", *(f"(?:{shown})" for shown in _VARYING)]))

# Printed every five seconds; `status` tells it with other words around.
_PROGRESS = re.compile(r"    [\d,]+ of [\d,]+ documents")


class Ids:
    """The ids on a page and those that stand for them in this run: bound where a page shows one first."""

    def __init__(self) -> None:
        self._bound: dict[str, str] = {}

    def in_this_run(self, text: str) -> str:
        """The text with this run's ids."""
        return re.sub(_REVISION, lambda match: self._bound.get(match[0], match[0]), text)

    def compare(self, shown: tuple[str, ...], printed: str) -> None:
        """Assert that a command printed what the page shows.

        A line `…` stands for any number of lines, `…` in a line for any text. Times, durations and other
        decimal numbers, process ids and SHA-256 digests may be others; an id of 12 hex digits may be another
        one, but then the same one wherever the page shows it. How wide the gaps between words are doesn't
        matter, nor do empty lines, nor how often a slow machine tells how far it has got.

        Raises:
            AssertionError: It did not; says from which line on.
        """
        lines = [
            line.rstrip() for line in printed.splitlines() if line.strip() and not _PROGRESS.fullmatch(line)
        ]
        at, may_skip = 0, False
        for line in shown:
            if not line.strip():
                continue
            if line.strip() == "…":
                may_skip = True
                continue
            candidates = range(at, len(lines) if may_skip else min(at + 1, len(lines)))
            found = next((n for n in candidates if self._matches(line, lines[n])), None)
            assert found is not None, f"the page shows\n  {line}\nwhere this was printed:\n  " + "\n  ".join(
                lines[at:]
            )
            at, may_skip = found + 1, False
        assert may_skip or at == len(lines), "the page does not show:\n  " + "\n  ".join(lines[at:])

    def _matches(self, shown: str, printed: str) -> bool:
        pattern, end, names = "", 0, []
        for token in _TOKEN.finditer(shown):
            pattern += _literally(shown[end : token.start()])
            end = token.end()
            if token["revision"] is None:
                pattern += next(run for page, run in _VARYING.items() if re.fullmatch(page, token[0]))
            elif token[0] in self._bound:
                pattern += self._bound[token[0]]
            elif token[0] in names:
                pattern += rf"(?:\{names.index(token[0]) + 1})"
            else:
                names.append(token[0])
                pattern += f"({_REVISION})"
        match = re.fullmatch(pattern + _literally(shown[end:]), printed)
        if match is not None:
            self._bound.update(zip(names, match.groups(), strict=True))
        return match is not None


def _literally(text: str) -> str:
    return re.sub(r"(?:\\ )+", r"\\s+", re.escape(text))
