"""Reads a YAML file that a user wrote: with the safe loader, and with errors that say where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from redismigrate.errors import SchemaError

if TYPE_CHECKING:
    import yaml

# Far more than any schema has. Aliases of aliases are small in the file and in memory, but not where an error
# shows what it found.
_MOST_VALUES = 100_000


def read_yaml(path: str | Path, *, most_values: int = _MOST_VALUES) -> Any:
    """The one document of a file.

    Args:
        path: The file.
        most_values: How many it may have, each as often as aliases lead to it.

    Raises:
        SchemaError: The file can't be read, is no YAML, says something twice, or is endless; says which file
            and where in it.
    """
    import yaml  # only those who have YAML files need it

    try:
        loader = yaml.SafeLoader(Path(path).read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {}, path, most_values)
        return loader.construct_document(node)
    except OSError as error:
        raise SchemaError(f"{path}: can't be read: {error.strerror}.", "Correct the path.") from None
    except UnicodeDecodeError as error:
        raise SchemaError(f"{path}: is no UTF-8 at byte {error.start}.", "Save it as UTF-8.") from None
    except RecursionError:
        raise SchemaError(f"{path}: is nested too deeply.", "Correct it.") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        mark = getattr(error, "problem_mark", None)
        where = f" at {_place(mark)}" if mark else ""
        what = getattr(error, "problem", None) or " ".join(str(error).split())
        raise SchemaError(f"{path}: is no YAML{where}: {what}.", "Correct it there.") from None


def _count(node: yaml.Node, counted: dict[int, int], path: str | Path, most_values: int) -> int:
    """How many values a node is, each as often as aliases lead to it.

    Args:
        node: Composed, not constructed.
        counted: Those that are known by their identity; 0 while it is being found out.
        path: The file, for messages.
        most_values: How many it may be.

    Raises:
        SchemaError: It contains itself, or too much, or says something twice.
    """
    import yaml

    known = counted.get(id(node))
    if known is not None:
        if known == 0:
            raise SchemaError(f"{path}: contains itself at {_place(node.start_mark)}.", "Correct it there.")
        return known
    counted[id(node)] = 0
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        _refuse_repetition(node, path)
        children = [each for pair in node.value for each in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    counted[id(node)] = 1 + sum(_count(child, counted, path, most_values) for child in children)
    if counted[id(node)] > most_values:
        raise SchemaError(f"{path}: has more than {most_values:,} values.", "Use fewer aliases (*name).")
    return counted[id(node)]


def _refuse_repetition(mapping: yaml.MappingNode, path: str | Path) -> None:
    """Refuse a key that stands there twice, of which the loader would silently take the last."""
    import yaml

    seen = set()
    for key, _ in mapping.value:
        if isinstance(key, yaml.ScalarNode):
            if (key.tag, key.value) in seen:
                raise SchemaError(
                    f"{path}: says {key.value!r} twice, again at {_place(key.start_mark)}.",
                    "Take one of them out.",
                )
            seen.add((key.tag, key.value))


def _place(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"
