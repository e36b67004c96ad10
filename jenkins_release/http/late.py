"""Whether a request came to nothing because nothing moved for too long, whichever library sent it."""

from __future__ import annotations

import sys

from urllib3.exceptions import ReadTimeoutError

from jenkins_release.base.causes import causes


def is_late(error: BaseException) -> bool:
    """Whether nothing moved for too long, by the limit of a call or by a library's for each read and write.

    A call gives each piece of a body some more time, so the library's limit may end first.

    Args:
        error: What a call, requests, urllib3 or botocore raised.
    """
    kinds: tuple[type[BaseException], ...] = (TimeoutError, ReadTimeoutError)
    # Clients of AWS do without requests, and what was never imported has raised nothing.
    if (requests := sys.modules.get("requests")) is not None:
        kinds = (*kinds, requests.Timeout)
    return any(isinstance(each, kinds) for each in causes(error, context=False))
