"""The section ``[portal]`` of ``release.toml``: where customers download from. No secret."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.names import check_path
from jenkins_release.config.section import Section

_CACHES = {"public": "public", "presigned": "private"}
# Amazon S3 User Guide, "General purpose bucket naming rules".
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

_LONGEST_SYSTEM = 40


def bucket_name(value: str) -> str:
    """Check the name of a bucket; it may be empty. Raises ValueError."""
    if value and (not _BUCKET.fullmatch(value) or ".." in value):
        raise ValueError(
            "is not a bucket name: 3 to 63 lower case letters, digits, full stops and hyphens, without s3://"
        )
    return value


def folder_path(value: str) -> str:
    """Check a folder in a bucket; it may be empty. Raises ValueError."""
    try:
        check_path(value)
    except ConfigurationError as error:
        raise ValueError(f"{error.message}; write it without a slash at either end") from error
    return value


Encryption = Literal["bucket", "AES256", "aws:kms"]
"""How objects are encrypted at rest: by the bucket's default, or as requested with each object."""


def check_encryption(encryption: Encryption, kms_key: str) -> None:
    """Check that a key is given only if it is used. Raises ValueError."""
    if kms_key and encryption == "AES256":
        raise ValueError('encryption = "AES256" uses no kms_key: remove one of them')


def _header(value: str) -> str:
    if value and not re.fullmatch(r"[!-~]([ -~]*[!-~])?", value):
        raise ValueError("is not a value for a Cache-Control header, such as public, max-age=86400")
    return value


def _address(value: str) -> str:
    if not value:
        return value
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is not the address of a web server, such as https://downloads.nextlabs.com/")
    if parts.username is not None or parts.password is not None:
        raise ValueError("contains a login, but it is shown to customers")
    if parts.query or parts.fragment:
        raise ValueError("has more than the portal's root: remove everything from ? or #")
    return value.rstrip("/")


def _notes(value: str) -> str:
    if value and "{version}" not in value:
        raise ValueError("has no {version}: every release would have the same notes")
    if re.sub(r"\{version\}", "", value).count("{"):
        raise ValueError("has a field other than {version}")
    return value


def _logo(value: str) -> str:
    if value and not value.lower().endswith((".png", ".svg")):
        raise ValueError("is not a PNG or SVG: its name ends with .png or .svg")
    return value


def _colour(value: str) -> str:
    if value and not re.fullmatch(r"#[0-9A-Fa-f]{6}", value):
        raise ValueError("is not a colour: # and six hexadecimal digits, such as #0b4fa8")
    return value


def _systems(value: dict[str, str]) -> dict[str, str]:
    for pattern, system in value.items():
        if not pattern or "/" in pattern:
            raise ValueError(f"has the pattern {pattern!r}: expected one for file names, such as *-agent.zip")
        if not 0 < len(system) <= _LONGEST_SYSTEM or not system.isprintable():
            raise ValueError(f"names {system!r} for {pattern}: expected a system, such as Linux")
    return value


class PortalSection(Section):
    """``[portal]``: an S3 bucket or a folder that customers download from.

    ``release_notes``, ``upgrade_notes`` and ``setup_guide`` are Markdown files relative to ``release.toml``,
    and so is ``logo``, a PNG or SVG. ``systems`` names the system of files whose name does not tell.
    ``part_size_mib`` is in MiB: an upload needs memory for ``workers + 1`` parts.
    """

    kind: Literal["none", "s3", "share"] = "none"
    bucket: Annotated[str, AfterValidator(bucket_name)] = ""
    region: str = ""
    prefix: Annotated[str, AfterValidator(folder_path)] = ""
    encryption: Encryption = "bucket"
    kms_key: str = ""
    cache_control: Annotated[str, AfterValidator(_header)] = ""
    location: str = ""
    access: Literal["public", "presigned"] = "presigned"
    url: Annotated[str, AfterValidator(_address)] = ""
    title: str = ""
    release_notes: Annotated[str, AfterValidator(_notes)] = ""
    upgrade_notes: Annotated[str, AfterValidator(_notes)] = ""
    setup_guide: str = ""
    logo: Annotated[str, AfterValidator(_logo)] = ""
    colour: Annotated[str, AfterValidator(_colour)] = ""
    systems: Annotated[dict[str, str], AfterValidator(_systems)] = Field(default_factory=dict)
    part_size_mib: Annotated[int, Field(ge=5, le=512)] = 16
    workers: Annotated[int, Field(ge=1, le=16)] = 4

    @model_validator(mode="after")
    def _complete(self) -> PortalSection:
        if self.kind == "s3" and not self.bucket:
            raise ValueError('kind = "s3" needs a bucket')
        check_encryption(self.encryption, self.kms_key)
        if self.kind == "share" and not self.location:
            raise ValueError('kind = "share" needs a location')
        if self.kind == "share" and self.access == "presigned":
            raise ValueError('kind = "share" has no expiring links: set access = "public"')
        return self

    @property
    def caching(self) -> str:
        """``Cache-Control`` of files: a day, since releases can be withdrawn; no proxy keeps signed ones."""
        return self.cache_control or f"{_CACHES[self.access]}, max-age=86400, immutable"
