"""What the demo shows of each revision of the example, and by which query."""

from __future__ import annotations

from dataclasses import dataclass

from redismigrate.commands.demo.demo_questions import DemoQuestion


@dataclass(frozen=True)
class Scene:
    """What the demo makes of a revision of the example.

    Attributes:
        revision: Its id.
        shows: What to see in it, one sentence.
        question: Asked before and after.
    """

    revision: str
    shows: str
    question: DemoQuestion


SCENES = (
    Scene(
        "51e8d0987b4c",
        "The packages were there before any index; creating one makes all of them searchable.",
        DemoQuestion(),
    ),
    Scene(
        "7a1a802617b2",
        "A new field is added while search stays up, and queries can ask for small packages.",
        DemoQuestion(among="@installed_kb:[0 100]"),
    ),
    Scene(
        "9c1b2cd5abc3",
        "The tags are joined by |, but the index splits them at commas, so filters find nothing. "
        "Redis can't alter a separator: the index is built anew.",
        DemoQuestion(among=r"@tags:{interface\:\:commandline}"),
    ),
    Scene(
        "2f5a5e4caf09",
        "Instead of comparing all vectors (FLAT), a query walks along a graph (HNSW), as large indexes need; "
        "here it finds the same.",
        DemoQuestion(),
    ),
    Scene(
        "06c45affb167",
        "The history forks. On this branch names are indexed a second time, as text, so parts of them match.",
        DemoQuestion(among="@name_words:dns*"),
    ),
    Scene(
        "c1c0db9bb072",
        "On the other branch, written at the same time by somebody else, the index gets a second name.",
        DemoQuestion(index="catalog"),
    ),
    Scene(
        "e538fb1493ea",
        "A merge joins the branches to one head again. It changes nothing on the server.",
        DemoQuestion(among="@name_words:dns*", index="catalog"),
    ),
)
