"""Addresses that download one object for some time, without a login.

The customer stands in the query as ``x-customer``: S3 ignores parameters that begin with ``x-`` and
writes them to the server access log (Amazon S3 User Guide, "Amazon S3 server access log format",
custom access log information). It is part of what is signed.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from jenkins_release.errors import ConfigurationError
from jenkins_release.portal.s3_calls import Bucket

LONGEST_LINK = timedelta(days=7)
"""Longest life of a presigned URL (AWS Signature Version 4, ``X-Amz-Expires``)."""
LONGEST_SESSION = timedelta(hours=12)
"""Longest life of temporary credentials, and with them of what they signed (IAM, maximum session)."""


def presigned(bucket: Bucket, key: str, customer: str, expires: timedelta) -> str:
    """Sign the address of an object.

    Args:
        bucket: Where it is.
        key: Its key.
        customer: Whom the address is for.
        expires: How long it works, at most :data:`LONGEST_LINK`.

    Raises:
        ConfigurationError: No credentials, or temporary ones that end before the address does.
    """
    url = _signed(bucket, key, customer, expires)
    if expires > LONGEST_SESSION and "&X-Amz-Security-Token=" in url:
        raise ConfigurationError(
            f"a link for {expires} cannot be made with temporary AWS credentials: it would end with "
            f"them, after {LONGEST_SESSION} at the latest",
            hint="use the access key of a user who may do nothing but read the portal, or a shorter time",
        )
    return url


def _signed(bucket: Bucket, key: str, customer: str, expires: timedelta) -> str:
    from botocore.exceptions import BotoCoreError

    def tag(request: Any, **_: Any) -> None:
        request.params["x-customer"] = customer

    events = bucket.client.meta.events
    events.register("before-sign.s3.GetObject", tag)
    try:
        url = bucket.client.generate_presigned_url(
            "get_object", Params={"Bucket": bucket.name, "Key": key}, ExpiresIn=int(expires.total_seconds())
        )
    except BotoCoreError as error:
        raise bucket.explain(error, f"make a link to s3://{bucket.name}/{key}") from error
    finally:
        events.unregister("before-sign.s3.GetObject", tag)
    return str(url)
