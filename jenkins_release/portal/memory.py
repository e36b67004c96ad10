"""What a portal's page remembers of the chains of attestations behind the releases that were there.

Whoever may write to the share of the candidates can remove the last attestation of a candidate, a
withdrawal for example, and what is left is a shorter chain without a gap. The page is elsewhere: it
names, for each release that it was made from, the last attestation that speaks for or against it.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html.parser import HTMLParser

from jenkins_release.base.errors import IntegrityError

NAME = "jenkins-release-chains"
"""Name of the ``meta`` element that holds it."""


@dataclass(frozen=True)
class Remembered:
    """The last attestation that spoke for or against a release when the page was made.

    Attributes:
        candidate: Digest of the candidate's ``candidate.json``.
        number: Its number in the chain.
        sha256: SHA-256 in hex of its file.
    """

    candidate: str
    number: int
    sha256: str


def memory_text(memory: Mapping[str, Remembered]) -> str:
    """Return what the page holds, for versions and what is remembered of them; empty for none."""
    if not memory:
        return ""
    value = {version: asdict(each) for version, each in sorted(memory.items())}
    # Encoded: a reader who searches the page for a version is not to find one that it does not offer.
    return b64encode(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).decode()


def read_memory(page: bytes, where: str) -> dict[str, Remembered]:
    """Read back what a page remembers; nothing for a page that remembers nothing.

    Raises:
        IntegrityError: It was changed.
    """
    finder = _Finder()
    try:
        finder.feed(page.decode("utf-8"))
        if not finder.found:
            return {}
        (text,) = finder.found
        value = json.loads(b64decode(text, validate=True))
        memory = {str(version): Remembered(**each) for version, each in value.items()}
        if any(
            (type(each.candidate), type(each.number), type(each.sha256)) != (str, int, str) or each.number < 1
            for each in memory.values()
        ):
            raise ValueError("a field has another type")
    except (ValueError, TypeError, AttributeError, RecursionError, AssertionError) as error:
        # html.parser asserts where a declaration is none.
        raise IntegrityError(
            f"{where}: what the page remembers of withdrawn releases cannot be read",
            hint="find out who changed the page; once it is removed it is made again, and remembers nothing",
        ) from error
    return memory


class _Finder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "meta" and values.get("name") == NAME:
            self.found.append(values.get("content") or "")
