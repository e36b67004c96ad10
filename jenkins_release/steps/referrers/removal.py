"""Removes what refers to images: a release that is withdrawn must not be vouched for any longer.

Nothing here reads an image's own manifest: that would count as a pull.
"""

from __future__ import annotations

from jenkins_release.oci.referrers import Referrer, Subject
from jenkins_release.records.candidate import Candidate
from jenkins_release.records.release import Promotion
from jenkins_release.records.sigstore import ImageStatement
from jenkins_release.records.summary import resource_uri
from jenkins_release.rules.release.image_statements import release_of_statement
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.referrers.artifacts import ImageArtifacts
from jenkins_release.steps.referrers.leftovers import Leftovers


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

    def count(self, left: Leftovers) -> int:
        """Return how many there are, by the API or on the lists that clients keep.

        Args:
            left: Collects what cannot be read; the rest is counted.
        """
        return sum(
            len(self._artifacts(image, left)) + len(self._legacy(image, left)) for image in self._images
        )

    def remove(self, left: Leftovers) -> int:
        """Remove them, and return how many there were.

        Args:
            left: Collects what cannot be read or removed; the rest goes.
        """
        count = 0
        for image in self._images:
            artifacts, legacy = self._artifacts(image, left), self._legacy(image, left)
            count += len(artifacts) + len(legacy)
            image.remove(artifacts, left)
            with left.collected():
                image.remove_legacy(legacy)
        return count

    def _artifacts(self, image: ImageArtifacts, left: Leftovers) -> set[str]:
        """Return the artifacts that are such statements."""
        bundles: dict[str, Referrer] = {}
        for listed in (image.bundles, image.listed_bundles):
            with left.collected():
                for each in listed():
                    bundles[each.digest] = each
        found: set[str] = set()
        with left.collected():
            for attached in image.statements(bundles.values()):
                if self._is_about(attached.statement):
                    found.update(attached.artifacts)
        return found

    def _legacy(self, image: ImageArtifacts, left: Leftovers) -> set[str]:
        """Return the digests of such statements among the legacy attestations."""
        found: set[str] = set()
        with left.collected():
            found.update(each.content for each in image.legacy() if self._is_about(each.statement))
        return found

    def _is_about(self, statement: ImageStatement) -> bool:
        return release_of_statement(statement.predicate_type, statement.predicate) == self._release


def remove_referrers(repository: str, digest: str, services: Services, left: Leftovers) -> bool:
    """Remove everything that refers to an image, whoever attached it, before the image itself is deleted.

    Args:
        repository: Repository of the image.
        digest: Its digest.
        services: The registry.
        left: Collects what cannot be removed; the rest goes.

    Returns:
        Whether everything is gone. If not, the image has to stay, so that another run finds what is left.
    """
    before = len(left)
    ImageArtifacts(repository, Subject(digest), services).remove_everything(left)
    return len(left) == before
