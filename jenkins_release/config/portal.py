"""The section ``[portal]`` of ``release.toml``: where customers download from. No secret."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from jenkins_release.config.section import Section
from jenkins_release.errors import ConfigurationError
from jenkins_release.rules.names import check_path

# Amazon S3 User Guide, "General purpose bucket naming rules".
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def _bucket(value: str) -> str:
    if value and (not _BUCKET.fullmatch(value) or ".." in value):
        raise ValueError(
            "is no name of a bucket: 3 to 63 lower case letters, digits, full stops and hyphens, without s3://"
        )
    return value


def _prefix(value: str) -> str:
    try:
        check_path(value)
    except ConfigurationError as error:
        raise ValueError(f"{error.message}; write it without a slash at either end") from error
    return value


def _address(value: str) -> str:
    if not value:
        return value
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is no address of a web server, such as https://downloads.nextlabs.com/")
    if parts.username is not None or parts.password is not None:
        raise ValueError("carries a login: it is shown to customers")
    if parts.query or parts.fragment:
        raise ValueError("goes on after the portal's root: leave out what begins with ? or #")
    return value.rstrip("/")


def _notes(value: str) -> str:
    if value and "{version}" not in value:
        raise ValueError("has no {version}: every release would have the same notes")
    if re.sub(r"\{version\}", "", value).count("{"):
        raise ValueError("has another field than {version}")
    return value


class PortalSection(Section):
    """``[portal]``: an S3 bucket or a folder that customers download from.

    ``release_notes`` and ``setup_guide`` are Markdown files relative to ``release.toml``. ``part_size_mib``
    is in MiB: an upload needs ``workers + 1`` parts of memory.
    """

    kind: Literal["none", "s3", "share"] = "none"
    bucket: Annotated[str, AfterValidator(_bucket)] = ""
    region: str = ""
    prefix: Annotated[str, AfterValidator(_prefix)] = ""
    kms_key: str = ""
    location: str = ""
    access: Literal["public", "presigned"] = "presigned"
    url: Annotated[str, AfterValidator(_address)] = ""
    title: str = ""
    release_notes: Annotated[str, AfterValidator(_notes)] = ""
    setup_guide: str = ""
    part_size_mib: Annotated[int, Field(ge=5, le=512)] = 16
    workers: Annotated[int, Field(ge=1, le=16)] = 4

    @model_validator(mode="after")
    def _complete(self) -> PortalSection:
        if self.kind == "s3" and not self.bucket:
            raise ValueError('kind = "s3" needs a bucket')
        if self.kind == "share" and not self.location:
            raise ValueError('kind = "share" needs a location')
        if self.kind == "share" and self.access == "presigned":
            raise ValueError('kind = "share" has no links that end: set access = "public"')
        return self
