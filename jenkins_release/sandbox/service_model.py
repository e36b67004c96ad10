"""botocore's descriptions of AWS services: the sandbox checks requests and its own answers against them."""

from __future__ import annotations

from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel


@cache
def service_model(service: str) -> Any:
    """Return the description of a service: a whole botocore session would take longer.

    Args:
        service: boto3's name of it, such as ``ecs``.
    """
    return ServiceModel(Loader().load_service_model(service, "service-2"), service_name=service)
