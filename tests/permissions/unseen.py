"""What the roles are granted though no recorded call needs it: an entry, and which parts it is about."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.permissions.parts import Part


@dataclass(frozen=True)
class Unseen:
    """Parts of statements; `roles`, `statement` and `texts` may be patterns of the shell."""

    roles: str
    statement: str
    texts: tuple[str, ...]
    reason: str
    page: str
    code: str = ""  # where ours makes the call, if it is ours

    def covers(self, part: Part, text: str) -> bool:
        """Whether the entry is about a part by one of its texts."""
        return (
            fnmatchcase(part.role, self.roles)
            and fnmatchcase(part.statement, self.statement)
            and fnmatchcase(part.text, text)
        )


def explained(entries: Iterable[Unseen], parts: Iterable[Part]) -> dict[Part, Unseen]:
    """The entry that is about each part, for parts that have one."""
    every = [*entries]
    found = ((part, next((entry for entry in every if _about(entry, part)), None)) for part in parts)
    return {part: entry for part, entry in found if entry is not None}


def empty_texts(entries: Iterable[Unseen], parts: Iterable[Part]) -> Iterator[str]:
    """The texts of entries that are about nothing in the template."""
    every = [*parts]
    for entry in entries:
        for text in entry.texts:
            if not any(entry.covers(part, text) for part in every):
                yield f"{entry.roles} / {entry.statement} / {text}"


def _about(entry: Unseen, part: Part) -> bool:
    return any(entry.covers(part, text) for text in entry.texts)
