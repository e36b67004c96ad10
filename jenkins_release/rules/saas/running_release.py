"""Which release runs: compares pulled digests with promoted digests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jenkins_release.base.dataclass import dataclass

NOT_A_RELEASE = "not a release"
MIXED = "mixed"
NOTHING = "nothing runs"


@dataclass(frozen=True)
class ReleasedImages:
    """A release in the registry.

    Attributes:
        release: ``version/build``.
        digests: Short name of an image to its manifest digest.
        withdrawn: Whether it was withdrawn.
        unproven: Why it cannot be proven that it is in force; empty if it can.
    """

    release: str
    digests: Mapping[str, str]
    withdrawn: bool = False
    unproven: str = ""

    @property
    def shown(self) -> str:
        """The release in words."""
        if self.withdrawn:
            return f"{self.release} (withdrawn)"
        return f"{self.release} (not provable)" if self.unproven else self.release


def releases_of(
    running: Mapping[str, str], containers: Mapping[str, str], released: Sequence[ReleasedImages]
) -> list[ReleasedImages]:
    """Return the releases that a task may be running: several if its images did not change between them.

    Args:
        running: Container to manifest digest.
        containers: Container to short name of its image, as configured.
        released: Every release.
    """
    return [
        each
        for each in released
        if all(
            running.get(container) == each.digests.get(image, "none")
            for container, image in containers.items()
        )
    ]


def verdict(
    tasks: Sequence[Mapping[str, str]],
    containers: Mapping[str, str],
    released: Sequence[ReleasedImages],
    expected: str = "",
) -> str:
    """Say in words which release a service runs.

    Args:
        tasks: Container to manifest digest, for each running task.
        containers: Container to short name of its image, as configured.
        released: Every release.
        expected: The last recorded release; preferred if several match.

    Returns:
        The release; :data:`MIXED` if tasks or containers differ; :data:`NOT_A_RELEASE`; :data:`NOTHING` if no
        task runs.
    """
    if not tasks:
        return NOTHING
    kinds = {tuple(sorted((name, task.get(name, "")) for name in containers)) for task in tasks}
    if len(kinds) > 1:
        return MIXED
    running = dict(kinds.pop())
    found = releases_of(running, containers, released)
    if found:
        chosen = [each for each in found if each.release == expected] or found
        return " or ".join(each.shown for each in chosen)
    known = {
        digest for each in released for image, digest in each.digests.items() if image in containers.values()
    }
    return MIXED if all(digest in known for digest in running.values()) else NOT_A_RELEASE
