"""Finds the blobs that the registry lacks, and the other repositories of the product that could lend them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cached_property

from jenkins_release.registry.protocol import RepositoryNotFound
from jenkins_release.steps.context.services import Services


class MissingBlobs:
    """What is known about the blobs in a product's repositories; safe to share between threads.

    Args:
        repositories: Every repository of the product that exists.
        services: The registry.
    """

    def __init__(self, repositories: Sequence[str], services: Services) -> None:
        self._repositories = tuple(dict.fromkeys(repositories))
        self._services = services
        self._held: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    @cached_property
    def mounts(self) -> bool:
        """Whether a blob of one repository can be mounted into another."""
        return self._services.retry("ask whether blobs can be mounted", self._services.registry.mounts_blobs)

    def look(self, wanted: Mapping[str, Sequence[str]]) -> None:
        """Ask the registry for blobs, and ask the product's other repositories for those that are missing.

        Args:
            wanted: Digests by repository.
        """
        self._services.each(lambda item: self._ask(*item), wanted.items())
        lacking = {each for name, digests in wanted.items() for each in digests if self.lacks(name, each)}
        several = len({*wanted, *self._repositories}) > 1
        if not lacking or not several or not self.mounts:
            return
        others = [(name, sorted(lacking - set(wanted.get(name, ())))) for name in self._repositories]
        self._services.each(lambda item: self._ask(*item), others)

    def lacks(self, repository: str, digest: str) -> bool:
        """Whether the repository lacks the blob, as far as is known."""
        with self._lock:
            return digest not in self._held.get(repository, ())

    def lender(self, repository: str, digest: str) -> str | None:
        """Return another repository that holds the blob and can lend it; None if there is none."""
        with self._lock:
            names = [name for name, held in self._held.items() if name != repository and digest in held]
        return names[0] if names and self.mounts else None

    def note(self, repository: str, digest: str) -> None:
        """Note that the repository now holds the blob."""
        with self._lock:
            self._held.setdefault(repository, set()).add(digest)

    def forget(self, repository: str) -> None:
        """Forget everything that the repository is known to hold."""
        with self._lock:
            self._held.pop(repository, None)

    def _ask(self, name: str, digests: Sequence[str]) -> None:
        if not digests:
            return
        try:
            missing = self._services.retry(
                f"ask which layers {name} holds", self._services.registry.missing_layers, name, digests
            )
        except RepositoryNotFound:
            return
        with self._lock:
            self._held.setdefault(name, set()).update(set(digests) - missing)
