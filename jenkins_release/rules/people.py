"""Names of people, compared so that upper case or another Unicode form makes no second person."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

# Default_Ignorable_Code_Point besides the format characters (Unicode 15, DerivedCoreProperties.txt):
# they show nothing.
_INVISIBLE = (
    *((0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2065, 0x2065)),
    *((0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF)),
)


def person_key(name: str) -> str:
    """Return the form in which names are compared: NFKC, case folded, visible, single spaces.

    This is NFKC_Casefold (Unicode Standard Annex 31 and DerivedNormalizationProps.txt): compatibility
    forms such as full-width letters fold onto the plain ones, and what shows nothing is left out.
    Look-alikes of other scripts stay different people.
    """
    folded, before = name, None
    while folded != before:
        before = folded
        # A letter and its accent meet only when what stood invisibly between them is gone.
        visible = "".join(letter for letter in folded if not _shows_nothing(letter))
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())
    return " ".join(folded.split())


def _shows_nothing(letter: str) -> bool:
    if unicodedata.category(letter) in {"Cf", "Cc"}:
        return not letter.isspace()
    return any(first <= ord(letter) <= last for first, last in _INVISIBLE)


def same_person(first: str, second: str) -> bool:
    """Whether two names are one person's; an empty name is nobody's."""
    return bool(person_key(first)) and person_key(first) == person_key(second)


def people_with_keys(pairs: Iterable[tuple[str, str]]) -> int:
    """Count people who each have a key of their own.

    Args:
        pairs: A person and the key id that they signed with. Neither one person with several keys
            nor one key under several names counts more than once.

    Returns:
        The size of a maximum matching (Kuhn's algorithm).
    """
    keys: dict[str, set[str]] = {}
    for person, key in pairs:
        keys.setdefault(person_key(person), set()).add(key)
    keys.pop("", None)
    owner: dict[str, str] = {}

    def settle(person: str, tried: set[str]) -> bool:
        for key in keys[person] - tried:
            tried.add(key)
            if key not in owner or settle(owner[key], tried):
                owner[key] = person
                return True
        return False

    return sum(settle(person, set()) for person in keys)
