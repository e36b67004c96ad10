"""People: who a name, a mail address or an account is, so that no spelling makes a second person.

With a list of people (``policy.people``), a spelling is looked up: it belongs to a person or a machine, or is
unknown, and is then never taken for someone else. Without a list, there are only spellings: two of them count
as one person if one could be a way of writing the other.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from functools import cached_property

from jenkins_release.base.dataclass import dataclass

# Default_Ignorable_Code_Point besides the format characters (Unicode 15, DerivedCoreProperties.txt):
# they show nothing.
_INVISIBLE = (
    *((0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2065, 0x2065)),
    *((0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF)),
)
# Display name and address of RFC 5322, section 3.4.
_ADDRESS = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]*)>[^<>]*")


def person_key(name: str) -> str:
    """Return the form in which names are compared: NFKC, case folded, visible, single spaces.

    This is NFKC_Casefold (Unicode Standard Annex 31 and DerivedNormalizationProps.txt): compatibility
    forms such as full-width letters fold onto the plain ones, and what shows nothing is left out.
    Look-alikes of other scripts stay different.
    """
    if name.isascii() and name.isprintable():
        return " ".join(name.casefold().split())  # what most names are, and the rest changes nothing
    folded, before = name, None
    while folded != before:
        before = folded
        # A letter and its accent combine only once invisible characters between them are gone.
        visible = "".join(letter for letter in folded if not _shows_nothing(letter))
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())
    return " ".join(folded.split())


def _shows_nothing(letter: str) -> bool:
    if unicodedata.category(letter) in {"Cf", "Cc"}:
        return not letter.isspace()
    return any(first <= ord(letter) <= last for first, last in _INVISIBLE)


def may_be_one_person(first: str, second: str) -> bool:
    r"""Whether two spellings could be one person's, without a list to look them up in.

    Domains, the wrapping of mail addresses, punctuation and further words do not tell people apart: ``root``,
    ``root.``, ``CORP\root`` and ``root <root@x>`` may be one person, and so may ``Alex`` and ``Alex Baker``.
    Use it only where that is the safe answer. An empty name belongs to no one.
    """
    return any(
        {*one} <= {*other} or {*other} <= {*one} or "".join(one) == "".join(other)
        for one in _readings(first)
        for other in _readings(second)
    )


def names_someone(name: str) -> bool:
    """Whether a name can be a person's: not if nothing of it can be read, and not ``null``.

    Jenkins answers with null for a parameter of an ``input`` that is left out, and Groovy writes it so.
    """
    return person_key(name) != "null" and bool(_readings(name))


def _readings(name: str) -> list[list[str]]:
    """Return the words of each way to read a name: as it is, its display name, its account."""
    folded = person_key(name)
    texts = [folded]
    if address := _ADDRESS.fullmatch(folded):
        texts += [address["name"], address["address"]]
    found = []
    for text in texts:
        account = text.rpartition("\\")[2].partition("@")[0].rpartition(":")[2]
        for each in dict.fromkeys((text, account)):
            found.append([word for word in re.split(r"[\W_]+", each) if word])  # noqa: PERF401
    return [words for words in found if words]


@dataclass(frozen=True)
class People:
    r"""Who is who.

    Attributes:
        people: Name of each person to the other ways in which the person is written: login, mail address,
            ``DOMAIN\user``, Jenkins user id. Empty if no people are listed.
        machines: Accounts that are not people, such as Jenkins' own.
    """

    people: Mapping[str, Sequence[str]] = field(default_factory=dict)
    machines: Sequence[str] = ()

    @property
    def listed(self) -> bool:
        """Whether people are listed; otherwise names are compared by their spelling."""
        return bool(self.people)

    @cached_property
    def _spellings(self) -> dict[str, str]:
        return {person_key(each): name for name, aliases in self.people.items() for each in (name, *aliases)}

    @cached_property
    def _accounts(self) -> frozenset[str]:
        return frozenset(map(person_key, self.machines))

    def person(self, spelling: str) -> str | None:
        """Return the listed person whose spelling it is, or None."""
        return self._spellings.get(person_key(spelling))

    def is_machine(self, spelling: str) -> bool:
        """Whether it is a listed account of a machine."""
        return person_key(spelling) in self._accounts

    def is_known(self, spelling: str) -> bool:
        """Whether it is certain who this is; always False without a list."""
        return self.listed and (self.person(spelling) is not None or self.is_machine(spelling))

    def same(self, first: str, second: str) -> bool:
        """Whether two spellings are one person's: certainly so with a list, possibly so without."""
        if self.listed:
            return self.surely_same(first, second)
        return may_be_one_person(first, second)

    def surely_same(self, first: str, second: str) -> bool:
        """Whether two spellings are certainly one person's; an empty name belongs to no one."""
        if self.listed and (found := self.person(first)) is not None:
            return found == self.person(second)
        return bool(person_key(first)) and person_key(first) == person_key(second)

    def shown(self, spelling: str) -> str:
        """Return a spelling, followed by the person's name if the two differ."""
        found = self.person(spelling)
        return spelling if found is None or found == spelling else f"{spelling} ({found})"

    def problems(self) -> list[str]:
        """Say what is wrong with the list: an empty spelling, or one that is claimed twice."""
        claims: dict[str, tuple[str, str]] = {}
        rows = [(name, each) for name, aliases in self.people.items() for each in (name, *aliases)]
        rows += [("policy.machines", each) for each in self.machines]
        found = []
        for owner, spelling in rows:
            key = person_key(spelling)
            if not key:
                found.append(f"{owner or 'policy.people'!r} has an empty spelling")
                continue
            other, before = claims.setdefault(key, (owner, spelling))
            if other != owner:
                alike = "" if before == spelling else f" (as {before!r})"
                found.append(f"{spelling!r} is claimed by {other!r}{alike} and by {owner!r}")
        return found


def people_with_keys(pairs: Iterable[tuple[str, str]], people: People | None = None) -> int:
    """Count the people who each have their own key.

    Args:
        pairs: A person and the key id that they signed with. One person with several keys counts once, and so
            does one key under several names.
        people: Who is who.

    Returns:
        The size of a maximum matching (Kuhn's algorithm).
    """
    found = [(name, key) for name, key in pairs if person_key(name)]
    groups = _groups([name for name, _ in found], people or People())
    keys: dict[int, set[str]] = {}
    for (_, key), group in zip(found, groups, strict=True):
        keys.setdefault(group, set()).add(key)
    owner: dict[str, int] = {}

    def settle(person: int, tried: set[str]) -> bool:
        for key in keys[person] - tried:
            tried.add(key)
            if key not in owner or settle(owner[key], tried):
                owner[key] = person
                return True
        return False

    return sum(settle(person, set()) for person in keys)


def _groups(names: Sequence[str], people: People) -> list[int]:
    """Return a number for each name; names that may be one person's have the same one.

    "Alex Baker" and "Alex Stone" may both be "Alex": if all three are given, they count once.
    """
    groups = list(range(len(names)))
    for place, name in enumerate(names):
        for before in range(place):
            if groups[before] != groups[place] and people.same(names[before], name):
                groups = [groups[before] if group == groups[place] else group for group in groups]
    return groups
