"""Removes what refers to images: a release that is withdrawn must not be vouched for any longer.

Nothing here reads an image's own manifest: that would count as a pull.
"""

from __future__ import annotations

from jenkins_release.oci.referrers import Subject
from jenkins_release.records.candidate import Candidate
from jenkins_release.records.release import Promotion
from jenkins_release.records.sigstore import ImageStatement
from jenkins_release.records.summary import resource_uri
from jenkins_release.registry.protocol import RepositoryNotFound
from jenkins_release.rules.release.image_statements import release_of_statement
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.referrers.artifacts import ImageArtifacts


class ReleaseStatements:
    """The statements about a release that are attached to its images, whoever signed them.

    Another release may have the same image: its statements name that release.

    Args:
        record: The candidate that was released.
        promoted: What its promotion left in the registry.
        services: The registry.
    """

    def __init__(self, record: Candidate, promoted: Promotion, services: Services) -> None:
        self._release = resource_uri(record)
        self._images = [
            ImageArtifacts(image.repository, Subject(image.digest), services) for image in promoted.images
        ]

    def count(self) -> int:
        """Return how many there are. Raises RemoteError if the registry fails, after the retries."""
        return sum(len(artifacts) + legacy for _, artifacts, legacy in self._found())

    def remove(self) -> int:
        """Remove them, and return how many there were.

        Raises:
            ConfigurationError: They are in a tag that is immutable.
            RemoteError: The registry failed, after the retries.
        """
        found = self._found()
        for image, artifacts, legacy in found:
            image.remove(artifacts)
            if legacy:
                image.remove_legacy(self._is_about)
        return sum(len(artifacts) + legacy for _, artifacts, legacy in found)

    def _found(self) -> list[tuple[ImageArtifacts, list[str], int]]:
        """Return each image with its artifacts, and the number of statements in its legacy attestations."""
        found = []
        for image in self._images:
            try:
                artifacts = [each.artifact for each in image.statements(self._is_about)]
                legacy = sum(self._is_about(each.statement) for each in image.legacy())
            except RepositoryNotFound:
                continue
            found.append((image, artifacts, legacy))
        return found

    def _is_about(self, statement: ImageStatement) -> bool:
        return release_of_statement(statement.predicate_type, statement.predicate) == self._release


def remove_referrers(repository: str, digest: str, services: Services) -> None:
    """Remove everything that refers to an image, whoever attached it, before the image itself is deleted.

    Raises:
        RemoteError: The registry failed, after the retries.
    """
    ImageArtifacts(repository, Subject(digest), services).remove_everything()
