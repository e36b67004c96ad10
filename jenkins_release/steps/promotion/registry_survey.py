"""Reads what the registry holds of a product, in few calls.

A product may have forty images, each in its own repository, and the registry may be far away. One call
describes all repositories, and two more read each of them, several repositories at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from functools import partial
from typing import Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.records.registry_image import StoredImage
from jenkins_release.registry.protocol import Repository
from jenkins_release.steps.context.services import Services


@dataclass(frozen=True)
class Held:
    """What the registry holds in one repository.

    Attributes:
        repository: The repository; None if there is none.
        tags: Every tag in it, sorted.
        images: The images that it holds of those asked for, by reference.
    """

    repository: Repository | None = None
    tags: tuple[str, ...] = ()
    images: Mapping[str, StoredImage] = field(default_factory=dict)


def survey(names: Sequence[str], references: Sequence[str], services: Services) -> dict[str, Held]:
    """Read what repositories hold.

    Args:
        names: The repositories.
        references: Tags or digests of the images to read in each of them.
        services: The registry.

    Returns:
        What each of the repositories holds, by name.

    Raises:
        IntegrityError: A manifest does not match its digest.
        RemoteError: The registry failed, after the retries.
    """
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return {}
    registry = services.registry
    shown = wanted[0] if len(wanted) == 1 else f"{len(wanted)} repositories"
    found = services.retry(f"describe {shown}", registry.repositories, wanted)

    def tags(name: str) -> list[str]:
        return services.retry(f"list the tags of {name}", registry.tags, name)

    def images(name: str) -> dict[str, StoredImage]:
        return services.retry(f"read {name}", registry.images, name, references)

    there = [name for name in wanted if name in found]
    questions: list[Callable[[], Any]] = [partial(ask, name) for name in there for ask in (tags, images)]
    answers = services.each(lambda question: question(), questions)
    held = {
        name: Held(found[name], tuple(answers[2 * number]), answers[2 * number + 1])
        for number, name in enumerate(there)
    }
    return {name: held.get(name, Held()) for name in wanted}
