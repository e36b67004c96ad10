"""Image names as ``docker load`` accepts them, and as an OCI layout gives them (annotations.md)."""

from __future__ import annotations

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.references import familiar
from jenkins_release.oci.manifests import Listed

_FULL_NAME = "io.containerd.image.name"
_SHORT_NAME = "org.opencontainers.image.ref.name"


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


def reference_of(entry: Listed) -> str:
    """Return the name that an entry of ``index.json`` gives an image; empty if it gives none.

    Raises:
        IntegrityError: It gives two.
    """
    where = f"annotations of {entry.digest}"
    name = entry.annotations.get(_FULL_NAME) or ""
    short = entry.annotations.get(_SHORT_NAME) or ""
    if not name:
        return check_reference(short, where) if ":" in short and "@" not in short else ""
    if "@" in name:
        return ""
    reference = check_reference(name, where)
    if short and short not in {name, reference, reference.rpartition(":")[2]}:
        raise IntegrityError(f"{where} call it {name} and {short}: programs differ in which name they read")
    return reference
