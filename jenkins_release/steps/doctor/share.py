"""Checks of a share: the way to it, what the user may do there, and how much space is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from jenkins_release.base.checks import Examination, Found, Status
from jenkins_release.base.errors import ReleaseError, RemoteError
from jenkins_release.base.text import size
from jenkins_release.share.factory import ClosableShare
from jenkins_release.share.rights import try_rights
from jenkins_release.share.smb.address import SmbAddress, is_smb
from jenkins_release.steps.context.services import Services

SHARE = "share"
RELEASES = "release area"
DOMAIN, LOGIN, PATH = (f"{SHARE}: {stage}" for stage in ("domain", "login", "path"))
ROOM = 10_000_000_000
"""Bytes below which there is a warning: a few candidates with images."""
LEAST_ROOM = 500_000_000
"""Bytes below which there is a failure: hardly one candidate."""


def named(area: str) -> Callable[[str], str]:
    """Return what names the checks of a share: its area and a stage."""
    return lambda stage: f"{area}: {stage}"


def examine_share(examination: Examination, services: Services) -> None:
    """Check the share of the candidates."""
    _examine(examination, services, SHARE, services.configuration.share.release_candidate)


def examine_release_area(examination: Examination, services: Services) -> None:
    """Check the release area. On a server that was looked at already, only the path and what is behind it."""
    section = services.configuration.share
    if not section.releases:
        examination.skip(RELEASES, "not configured: share.releases")
        return
    _examine(examination, services, RELEASES, section.releases, beside=section.release_candidate)


def _examine(
    examination: Examination, services: Services, area: str, location: str, beside: str = ""
) -> None:
    name = named(area)
    account = named(SHARE)("account")
    if beside and is_smb(location) and examination.named(account) is not None:
        examination.check(name("path"), lambda: Found(""), account)  # the same account is missing
        return
    try:
        share = services.open_share(location)
    except ReleaseError as error:
        examination.fail(name("account"), error)
        return
    if is_smb(location):
        _survey(examination, services, share, area, same_server=_same_server(location, beside))
    else:
        examination.check(name("path"), partial(_folder, location))
    examination.check(name("rights"), partial(_rights, share, services), name("path"))
    examination.check(name("free space"), partial(_space, share), name("path"))


def _survey(
    examination: Examination, services: Services, share: ClosableShare, area: str, *, same_server: bool
) -> None:
    from jenkins_release.share.smb.share import SmbShare

    if not isinstance(share, SmbShare):
        raise TypeError(type(share))
    survey = share.survey(services.now)
    if same_server:
        survey.examine_path(examination, named(area), LOGIN)
        return
    survey.examine(examination, named(area), refused_login(examination))


def refused_login(examination: Examination) -> list[str]:
    """Return what a further login needs: one that failed, as servers may count attempts together."""
    tried = map(examination.named, (DOMAIN, LOGIN))
    return [each.name for each in tried if each is not None and each.status is Status.FAIL]


def _same_server(location: str, other: str) -> bool:
    if not other or not is_smb(other):
        return False
    here, there = SmbAddress.parse(location), SmbAddress.parse(other)
    return (here.server.casefold(), here.port) == (there.server.casefold(), there.port)


def _folder(location: str) -> Found:
    if not Path(location).is_dir():
        raise RemoteError(
            f"there is no folder {location}",
            hint="correct the location, mount the share, or create the folder: the root is never created",
        )
    return Found(f"{location} is there, on this machine or mounted")


def _rights(share: ClosableShare, services: Services) -> Found:
    return Found(try_rights(share, services.configuration.product.name, services.holder(), services.sleep))


def _space(share: ClosableShare) -> Found:
    return room(share.free_space(), "free some space on the share, or ask for a larger volume or quota")


def room(free: int | None, hint: str, of: Sequence[int] = (ROOM, LEAST_ROOM)) -> Found:
    """Judge free space.

    Args:
        free: Bytes; None if unknown.
        hint: What to do if it is too little.
        of: Bytes below which there is a warning, and a failure.

    Raises:
        RemoteError: It is far too little.
    """
    if free is None:
        return Found("the server does not say how much is free")
    said = f"{size(free)} free"
    enough, least = of
    if free < least:
        raise RemoteError(f"{said}, expected {size(enough)}", hint=hint)
    return Found(said, hint if free < enough else "")
