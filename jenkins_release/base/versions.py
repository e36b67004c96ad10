"""Product versions: how they are written, and which one is newer.

PEP 440 and SemVer do not fit what products ship (``8.1.0-hotfix2``, ``2018.3``, ``10.4.0.1``), so
the order is our own: numbers first, then pre-releases before the release itself, then everything that fixes
it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.names import check_identifier

_PATTERN = re.compile(
    r"(?P<numbers>\d{1,9}(?:\.\d{1,9}){1,3})(?:-(?P<word>[A-Za-z]+)[.-]?(?P<count>\d{1,9})?)?"
)
_BEFORE = ("dev", "alpha", "beta", "preview", "rc")


@total_ordering
@dataclass(frozen=True, eq=False)
class ReleaseVersion:
    """A product version of two to four numbers with an optional suffix.

    Attributes:
        text: The version as it was written; folder names and tags use this form.
        numbers: The numbers, missing ones filled with 0 up to four.
        word: The suffix's word in lower case (``hotfix``, ``rc``), or an empty string.
        count: The suffix's number, 0 if there is none.
    """

    text: str
    numbers: tuple[int, int, int, int]
    word: str
    count: int

    @classmethod
    def parse(cls, text: str) -> ReleaseVersion:
        """Read a version such as ``8.1.0``, ``2018.3``, ``10.4.0.1`` or ``8.1.0-hotfix2``.

        Raises:
            ConfigurationError: The text is not a version, or could not be a folder name.
        """
        check_identifier("version", text)
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise ConfigurationError(
                f"version {text!r} is not two to four numbers with an optional suffix",
                hint="write it as 8.1.0, 2018.3, 10.4.0.1 or 8.1.0-hotfix2",
            )
        found = [int(n) for n in match["numbers"].split(".")]
        a, b, c, d = (*found, 0, 0)[:4] if len(found) > 1 else (found[0], 0, 0, 0)
        return cls(text, (a, b, c, d), (match["word"] or "").lower(), int(match["count"] or 0))

    @property
    def major(self) -> int:
        """First number."""
        return self.numbers[0]

    @property
    def minor(self) -> int:
        """Second number."""
        return self.numbers[1]

    @property
    def patch(self) -> int:
        """Third number, 0 if there is none."""
        return self.numbers[2]

    @property
    def final(self) -> bool:
        """Whether it is not a pre-release."""
        return self.word not in _BEFORE

    def _key(self) -> tuple[tuple[int, int, int, int], int, int, str, int]:
        if not self.final:
            return (self.numbers, -1, _BEFORE.index(self.word), self.word, self.count)
        return (self.numbers, 1 if self.word else 0, 0, self.word, self.count)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReleaseVersion) and self._key() == other._key()

    def __lt__(self, other: ReleaseVersion) -> bool:
        return self._key() < other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __str__(self) -> str:
        return self.text
