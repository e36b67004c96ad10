"""The images of an ECS service: what a task definition pins or has to pin, and what its tasks run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from jenkins_release.aws.ecs import TaskDefinition
from jenkins_release.base.errors import ConfigurationError

if TYPE_CHECKING:
    from jenkins_release.steps.saas.target import Released

_PINNED = re.compile(r"@(sha256:[0-9a-f]{64})$")


def pinned_settings(
    service: str, containers: Mapping[str, str], current: TaskDefinition, target: Released
) -> dict[str, Any]:
    """Return the settings of the current revision, with the images of the release in place of its own.

    Args:
        service: Name of the service, for messages.
        containers: Container to short name of its image, as configured.
        current: The revision that the service runs.
        target: The release.

    Raises:
        ConfigurationError: A container or an image does not exist; ``reasons`` lists all of them.
    """
    wrong = [
        f"{current.arn} has no container {container}: it has {', '.join(current.images)}"
        for container in containers
        if container not in current.images
    ]
    wrong += [
        f"{target.release} has no image {image}"
        for image in containers.values()
        if image not in target.images
    ]
    if wrong:
        raise ConfigurationError(
            f"saas.services does not fit to {service}: {wrong[0]}",
            hint="map the containers of the task definition to names of [[images]]",
            reasons=wrong,
        )
    settings = dict(current.settings)
    settings["containerDefinitions"] = [
        {**each, "image": target.images[containers[each["name"]]]} if each["name"] in containers else each
        for each in current.settings["containerDefinitions"]
    ]
    return settings


def require_known(definitions: Iterable[TaskDefinition]) -> None:
    """Refuse task definitions whose new revisions would lose fields.

    Raises:
        ConfigurationError: boto3 does not know a field of one; ``reasons`` lists all such fields.
    """
    lost = [f"{each.arn} has {name}" for each in definitions for name in each.unknown]
    if lost:
        from boto3 import __version__

        raise ConfigurationError(
            f"{lost[0]}, which boto3 {__version__} does not know: a new revision would be without it",
            hint="update boto3, or take it out of the task definition",
            reasons=lost,
        )


def pinned_digests(containers: Mapping[str, str], images: Mapping[str, str]) -> dict[str, str]:
    """Return a map of container to manifest digest, for the configured containers that pin one.

    Args:
        containers: Container to short name of its image, as configured.
        images: Container to image, as a task definition names it.
    """
    return {name: digest for name, digest in _digests(images).items() if name in containers}


def task_digests(told: Mapping[str, str], images: Mapping[str, str]) -> dict[str, str]:
    """Return a task's map of container to manifest digest: as the agent pulled it, or else as pinned."""
    return {**_digests(images), **told}


def _digests(images: Mapping[str, str]) -> dict[str, str]:
    return {name: match[1] for name, image in images.items() if (match := _PINNED.search(image))}
