"""What a portal's page remembers about the attestation chains of its releases.

Anyone who can write to the candidates' share can remove the last attestation of a candidate, for example a
withdrawal, which leaves a shorter chain without a gap. The page is elsewhere: for each of its releases, it
names the last attestation for or against it.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict
from html.parser import HTMLParser

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError

NAME = "jenkins-release-chains"
"""Name of the ``meta`` element."""


@dataclass(frozen=True)
class Remembered:
    """The last attestation for or against a release when the page was made.

    Attributes:
        candidate: Digest of the candidate's ``candidate.json``.
        number: Its number in the chain.
        sha256: SHA-256 in hex of its file.
    """

    candidate: str
    number: int
    sha256: str


def memory_text(memory: Mapping[str, Remembered]) -> str:
    """Return the content of the ``meta`` element for versions and their memory; empty for none."""
    if not memory:
        return ""
    value = {version: asdict(each) for version, each in sorted(memory.items())}
    # Encoded: searching the page for a version must not find one that it does not offer.
    return b64encode(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).decode()


def read_memory(page: bytes, where: str) -> dict[str, Remembered]:
    """Read what a page remembers; empty if it remembers nothing.

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
        # html.parser raises AssertionError for a malformed declaration.
        raise IntegrityError(
            f"{where}: what the page remembers about withdrawn releases cannot be read",
            hint="find out who changed the page; if you remove it, it is made again without its memory",
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
