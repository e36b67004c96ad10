"""Portal link: a link for one customer to download one file for a limited time."""

from __future__ import annotations

import logging
from dataclasses import field, replace
from datetime import datetime, timedelta

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, GateRefused, IntegrityError
from jenkins_release.records.published_release import PublishedFile
from jenkins_release.steps.candidate.attest import named
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.portal.page import look_at_portal, standings_at

_log = logging.getLogger(__name__)
_LONGEST_CUSTOMER = 100


@dataclass(frozen=True)
class PortalLinkRequest:
    """For what and whom.

    Attributes:
        version: A version at the portal.
        file: One of its files: the path below the version's folder, or the file name.
        customer: Whom it is for.
        expires: How long it works.
    """

    version: str
    file: str
    customer: str
    expires: timedelta


@dataclass(frozen=True)
class PortalLink:
    """An address that works for some time.

    Attributes:
        version: The version.
        path: Path of the file at the portal.
        size: Bytes.
        sha256: SHA-256 in hex, for the customer.
        customer: Whom it is for.
        expires_at: From when on it does not work any more, UTC; sooner than was asked for where the
            credentials that signed it end before.
        url: The address: whoever has it may download. Never logged, and not part of the representation.
    """

    version: str
    path: str
    size: int
    sha256: str
    customer: str
    expires_at: datetime
    url: str = field(repr=False)


def portal_link(request: PortalLinkRequest, services: Services) -> PortalLink:
    """Make a link for a customer.

    Raises:
        ConfigurationError: No such version or file at the portal, no customer, the portal cannot make
            links, or none that works that long; or the session that would sign it ends very soon.
        GateRefused: The release was withdrawn.
        IntegrityError: The portal holds something else than was published, or the release cannot be proven.
        RemoteError: Share or portal failed, after the retries.
    """
    customer = named("customer", request.customer)
    if len(customer) > _LONGEST_CUSTOMER:
        raise ConfigurationError(
            f"the customer has {len(customer)} characters, at most {_LONGEST_CUSTOMER} are allowed"
        )
    portal, product = services.portal, services.configuration.product.name
    there = look_at_portal(services)
    release = there.complete.get(request.version)
    if release is None:
        if request.version in there.altered:
            raise _unproven(request.version, there.altered[request.version])
        raise ConfigurationError(
            f"{request.version} is not complete at the portal {portal.name}",
            hint=f"'jenkins-release release portal {request.version}' uploads it",
        )
    record = release.record
    standing = standings_at(replace(there, complete={record.version: release}), services)[record.version]
    if standing.unproven:
        raise _unproven(record.version, standing.unproven)
    if standing.withdrawn:
        raise GateRefused(
            f"{product} {record.version} was withdrawn, and must not be given to customers",
            hint=f"'release portal {record.version} --remove' takes it from the portal",
            reasons=[f"the release {record.version} was withdrawn"],
        )
    file = _file(request.file, record.files, record.version)
    path = f"{product}/{record.version}/{file.path}"
    link = services.retry(
        f"make a link to {path}", lambda: portal.link(path, customer=customer, expires=request.expires)
    )
    expires_at = services.now() + link.lasts
    _log.info("link to %s for %s, works until %s", path, customer, expires_at.isoformat())
    return PortalLink(record.version, path, file.size, file.sha256, customer, expires_at, link.url)


def _unproven(version: str, why: str) -> IntegrityError:
    return IntegrityError(
        f"{version} cannot be proven to be in force: {why}",
        hint="customers get only proven releases: restore the candidate, or find out who changed it",
    )


def _file(wanted: str, files: tuple[PublishedFile, ...], version: str) -> PublishedFile:
    found = [file for file in files if wanted in {file.path, file.path.rpartition("/")[2]}]
    if len(found) != 1:
        names = ", ".join(file.path for file in files)
        raise ConfigurationError(
            f"{wanted!r} names {len(found) or 'no'} file{'s' if len(found) != 1 else ''} of {version}, "
            "expected one",
            hint=f"its files: {names}",
        )
    return found[0]
