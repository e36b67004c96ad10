"""The section ``[customers]`` of ``release.toml``: the IAM users that pull. No secret."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from jenkins_release.config.section import Section


def _iam_path(value: str) -> str:
    if value and not re.fullmatch(r"/([A-Za-z0-9._-]+/)+", value):
        raise ValueError("is not an IAM path, such as /skydrm/customers/")
    return value


class CustomersSection(Section):
    """``[customers]``: the path of the IAM users, and how long users and keys live, in days."""

    path: Annotated[str, AfterValidator(_iam_path)] = ""
    expires_days: Annotated[int, Field(ge=1, le=3650)] = 365
    key_max_age_days: Annotated[int, Field(ge=1, le=3650)] = 365
    unused_days: Annotated[int, Field(ge=1, le=3650)] = 90
    rotation_grace_days: Annotated[int, Field(ge=0, le=365)] = 14
    delete_after_days: Annotated[int, Field(ge=1, le=365)] = 30
