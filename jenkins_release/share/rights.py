"""What the user may do on a share, tried in a folder that is there only meanwhile."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable

from jenkins_release.base.errors import IntegrityError, LeaseHeld, ReleaseError, RemoteError
from jenkins_release.base.waits import apart
from jenkins_release.share.protocol import AccessRefused, InUse, PathNotFound, Share
from jenkins_release.share.staging import present

_log = logging.getLogger(__name__)
PREFIX = ".incoming-doctor-"
"""How the folder begins; virus scanners leave folders like it alone, see docs/troubleshooting.md."""
_OWN = re.compile(re.escape(PREFIX) + "[0-9a-f]{8}", re.IGNORECASE)
_LEFT_S = 3600.0
"""Age, by the server's clock, at which a folder was left by a doctor that died; none takes so long."""
_HELD_TRIES = 10
"""How often a rename is tried: a virus scanner reads each new file."""
_HELD_S = 0.5
_MODIFY = "give the user the permission to modify and delete, on the share and on the folder"


class _Enough(Exception):
    """Ends a file before it is finished."""


def try_rights(share: Share, product: str, holder: str, pause: Callable[[float], None]) -> str:
    """Do all that a release does on a share, and remove it again.

    It is done in the product's folder if that exists, else beside it: an empty product stays absent. What a
    doctor left that died is removed too.

    Args:
        share: The share.
        product: Name of the product's folder.
        holder: Who tries, for the lock.
        pause: Waits, in seconds.

    Returns:
        What the user may do.

    Raises:
        ReleaseError: What the user may not do, or what the server does not keep.
    """
    above = product if present(share, product) else ""
    place = f"{above}/{PREFIX}{secrets.token_hex(4)}".lstrip("/")
    try:
        share.make_folder(place)
        _files(share, place, pause)
        _lock(share, f"{place}/lock", holder)
        _clear(share, above, place)
    except ReleaseError as error:
        if _removed(share, place):
            raise
        raise RemoteError(
            f"{error.message}; {place} could not be removed again",
            hint=f"{error.hint or _MODIFY}; then remove {place} from {share.name}",
        ) from error
    except BaseException:
        _removed(share, place)
        raise
    share.remove(place)
    if present(share, place):
        raise RemoteError(f"{share.name}: {place} was removed, but is still there", hint=_MODIFY)
    return "may create, write, rename, lock and delete"


def _files(share: Share, place: str, pause: Callable[[float], None]) -> None:
    file = f"{place}/file"
    with share.create(file) as writer:
        writer.write(b"a check of jenkins-release doctor\n")
    _rename(share, file, f"{place}/renamed", pause)
    share.make_folder(f"{place}/folder")
    _rename(share, f"{place}/renamed", f"{place}/folder/moved", pause)
    _rename(share, f"{place}/folder", f"{place}/moved", pause)
    share.remove(f"{place}/moved")
    unfinished = f"{place}/unfinished"
    try:
        with share.create(unfinished) as writer:
            writer.write(b"never finished\n")
            raise _Enough
    except _Enough:
        if present(share, unfinished):
            raise RemoteError(
                f"{share.name}: the server keeps a file that was not finished, although it was marked for "
                "deletion",
                hint=_MODIFY,
            ) from None


def _rename(share: Share, source: str, target: str, pause: Callable[[float], None]) -> None:
    for left in reversed(range(_HELD_TRIES)):
        try:
            share.rename(source, target)
            return
        except (AccessRefused, InUse) as error:
            if not left:
                hint = f"{_MODIFY}; or exclude the folders .incoming-* from the virus scan"
                raise AccessRefused(f"may create files, but {error.message}", hint=hint) from error
        pause(_HELD_S)


def _lock(share: Share, path: str, holder: str) -> None:
    with share.lease(path, holder) as lease:
        lease.confirm()
        try:
            with share.lease(path, f"{holder} (second)"):
                pass
        except LeaseHeld:
            return
    raise RemoteError(
        f"{share.name}: the server let two programs hold one lock: releases could overwrite each other",
        hint="look for oplock and locking settings of the share, or of the mount",
    )


def _clear(share: Share, above: str, place: str) -> None:
    """Remove what doctors left that died. Others may be running: only what is old by the server's clock."""
    now = share.stat(place).modified
    for folder in dict.fromkeys([above, ""]):
        try:
            entries = share.list(folder)
        except (AccessRefused, IntegrityError) as error:
            if folder == above:
                raise
            # Before the product's folder was there, doctors worked beside it; others may own that place.
            _log.debug("looking for what doctors left in %s: %s", share.name, error)
            continue
        for each in entries:
            if each.is_folder and _OWN.fullmatch(each.name) and now - each.modified > _LEFT_S:
                _log.warning("removing %s, which a doctor left when it died", each.name)
                share.remove(f"{folder}/{each.name}".lstrip("/"))


def _removed(share: Share, place: str) -> bool:
    """Remove the folder after a failure, also if the check is late; False if that fails too."""
    with apart():
        try:
            share.remove(place)
        except PathNotFound:
            return True
        except ReleaseError as error:
            # The caller needs the first failure.
            _log.warning("%s could not be removed from %s: %s", place, share.name, error)
            return False
    return True
