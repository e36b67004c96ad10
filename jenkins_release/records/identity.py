"""The digest by which QA knows an image."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from jenkins_release.records.base import Part
from jenkins_release.records.candidate import CandidateImage, Digest, MultiPlatformRecord


class IdentifiedImage(Part):
    """An image that a record names by its identity.

    Attributes:
        config_digest: Identity of an image for one platform: digest of its config; None for several.
        index_digest: Identity of an image for several platforms: digest of its index; None for one.
    """

    config_digest: Digest | None = None
    index_digest: Digest | None = None

    @model_validator(mode="after")
    def _one_identity(self) -> Self:
        if (self.config_digest is None) == (self.index_digest is None):
            raise ValueError("expected the digest of either a config or an index")
        return self

    @property
    def identity(self) -> str:
        """The digest that QA validated."""
        return self.config_digest or self.index_digest or ""


def identity_of(image: CandidateImage) -> dict[str, str]:
    """Return the identity of an image as the fields of an :class:`IdentifiedImage`."""
    name = "index_digest" if isinstance(image, MultiPlatformRecord) else "config_digest"
    return {name: image.identity}
