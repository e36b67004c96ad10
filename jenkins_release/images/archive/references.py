"""Image names as ``docker load`` accepts them."""

from __future__ import annotations

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.references import familiar


def check_reference(text: str, where: str) -> str:
    """Check the name that an archive gives to an image.

    Args:
        text: Name with a tag.
        where: The document that gives it, for the message.

    Returns:
        The short form: ``docker.io/library/base:1`` is ``base:1``.

    Raises:
        IntegrityError: Docker would not accept it.
    """
    name = familiar(text)
    if name is None:
        raise IntegrityError(f"{where} names an image {text[:100]!r}, expected a name with a tag")
    return name
