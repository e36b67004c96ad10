"""Links that download one object for a limited time, without a login.

The customer is in the query as ``x-customer``: S3 ignores parameters that begin with ``x-``, and writes them
to the server access log (Amazon S3 User Guide, "Amazon S3 server access log format", custom access log
information). The signature covers it.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from jenkins_release.aws.s3 import Bucket
from jenkins_release.aws.session import session_end
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.portal.protocol import Link

_log = logging.getLogger(__name__)

LONGEST_LINK = timedelta(days=7)
"""Longest life of a presigned URL (AWS Signature Version 4, ``X-Amz-Expires``)."""
LONGEST_SESSION = timedelta(hours=12)
"""Longest life of temporary credentials, and so of what they signed (IAM, maximum session)."""


_VERY_SOON = timedelta(minutes=15)
"""A link that lasts less than that, and less than requested, is useless to the customer."""


def presigned(bucket: Bucket, key: str, customer: str, expires: timedelta) -> Link:
    """Sign a link to an object; it expires with the signing credentials, if they expire earlier.

    Args:
        bucket: Where it is.
        key: Its key.
        customer: The customer.
        expires: How long it works, at most :data:`LONGEST_LINK`.

    Raises:
        ConfigurationError: There are no credentials, or temporary ones that expire very soon, or no session
            can last as long as the link.
    """
    url = _signed(bucket, key, customer, expires)
    if "&X-Amz-Security-Token=" not in url:
        return Link(url, expires)
    if expires > LONGEST_SESSION:
        raise ConfigurationError(
            f"a link for {expires} cannot be made with temporary AWS credentials: it would expire with "
            f"them, after {LONGEST_SESSION} at the latest",
            hint="use the access key of a user who may only read the portal, or a shorter time",
        )
    end = session_end(bucket.client)
    if end is None:
        _log.warning(
            "the link is signed with temporary AWS credentials that do not say when they expire: it works no "
            "longer than they do"
        )
        return Link(url, expires)
    left = timedelta(seconds=int((end - datetime.now(UTC)).total_seconds()))
    if left >= expires:
        return Link(url, expires)
    if left < _VERY_SOON:
        raise ConfigurationError(
            f"the temporary AWS credentials that sign the link expire at {end.astimezone(UTC):%H:%M} UTC, "
            "and the link with them",
            hint="sign in again, or use the access key of a user who may only read the portal",
        )
    _log.warning("the link works for %s, not %s: the credentials that sign it expire then", left, expires)
    return Link(_signed(bucket, key, customer, left), left)


def _signed(bucket: Bucket, key: str, customer: str, expires: timedelta) -> str:
    from botocore.exceptions import BotoCoreError, ClientError

    def tag(request: Any, **_: Any) -> None:
        request.params["x-customer"] = customer

    events = bucket.client.meta.events
    events.register("before-sign.s3.GetObject", tag)
    try:
        url = bucket.client.generate_presigned_url(
            "get_object", Params={"Bucket": bucket.name, "Key": key}, ExpiresIn=int(expires.total_seconds())
        )
    except (BotoCoreError, ClientError) as error:  # the signing role may be refused
        raise bucket.explain(error, f"make a link to s3://{bucket.name}/{key}") from error
    finally:
        events.unregister("before-sign.s3.GetObject", tag)
    return str(url)
