"""Receipts: what this user loaded or fetched on this machine, kept for the sign-off.

A receipt proves nothing to others, because this user could write anything. It keeps a tester from signing
something other than what was loaded because the share changed in between.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import stat
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError, ReleaseError, RemoteError
from jenkins_release.base.moments import minute
from jenkins_release.config.home import expand_home
from jenkins_release.images.protocol import ImageNotFound
from jenkins_release.records.base import MAX_RECORD_BYTES, canonical_json
from jenkins_release.records.receipt import Receipt
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.context.local_files import write_file
from jenkins_release.steps.context.services import Services

RECEIPTS = "JENKINS_RELEASE_RECEIPTS"
"""Environment variable with the folder of the receipts."""
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReceiptFound:
    """The result of looking for a receipt.

    Attributes:
        path: Where it is kept; None if no home folder is known.
        receipt: The receipt; None if there is none that counts.
        problem: Why an existing one does not count; empty if there is none.
    """

    path: Path | None
    receipt: Receipt | None = None
    problem: str = ""


def write_receipt(
    opened: OpenCandidate, verb: Literal["load", "fetch"], services: Services, **got: Any
) -> Path | None:
    """Keep a receipt of a completely received candidate.

    An earlier receipt of the candidate is replaced; a warning is logged if it names other content.

    Args:
        opened: The candidate as it was read for this.
        verb: What was done.
        services: Where.
        got: The other fields of :class:`~jenkins_release.records.receipt.Receipt`.

    Returns:
        The file, or None if it cannot be written or would not count there: then a warning says why, and
        the sign-off needs the digest.
    """
    before = read_receipt(opened.ref, services)
    if before.receipt is not None and before.receipt.candidate != opened.digest:
        _log.warning(
            "%s changed on the share after it was loaded here at %s: candidate.json was %s, and now is %s",
            opened.ref,
            minute(before.receipt.received_at),
            before.receipt.candidate,
            opened.digest,
        )
    receipt = Receipt(
        product=services.candidates.product,
        version=opened.ref.version,
        build=opened.ref.build,
        share=services.share.name,
        candidate=opened.digest,
        verb=verb,
        host=socket.gethostname(),
        by=services.user(),
        build_url=services.build_url,
        received_at=services.now(),
        **got,
    )
    if before.path is None:
        _log.warning("no receipt is kept (%s): sign off with --digest %s", before.problem, opened.digest)
        return None
    folder = before.path.parent
    try:
        _make_private(folder)
        _check_own(folder, folder.lstat(), stat.S_ISDIR, "folder")
        write_file(before.path, receipt.to_bytes(), "the receipt", private=True)
    except (OSError, ReleaseError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.message
        _log.warning(
            "no receipt is kept in %s (%s): sign off with --digest %s", folder, reason, opened.digest
        )
        return None
    return before.path


def read_receipt(ref: CandidateRef, services: Services) -> ReceiptFound:
    """Look for this user's receipt of a candidate on this machine.

    A receipt that others could have written, or that is damaged or about something else, does not count.
    """
    area = services.candidates
    name = f"{area.product}-{ref.version}-{ref.build}"[:100]
    key = canonical_json([services.share.name, area.product, ref.version, ref.build])
    try:
        folder = receipts_folder(services.environ) / _host()
    except ConfigurationError as error:
        return ReceiptFound(None, problem=error.message)
    path = folder / f"{name}-{sha256(key).hexdigest()[:16]}.json"
    try:
        receipt = Receipt.from_bytes(_read_own(path), str(path))
    except FileNotFoundError:
        return ReceiptFound(path)
    except OSError as error:
        return ReceiptFound(path, problem=f"the receipt {path} cannot be read: {error.strerror}")
    except IntegrityError as error:
        return ReceiptFound(path, problem=error.message)
    about = (receipt.share, receipt.product, receipt.version, receipt.build, receipt.host)
    expected = (services.share.name, area.product, ref.version, ref.build, socket.gethostname())
    if about != expected:
        return ReceiptFound(path, problem=f"the receipt {path} is about another candidate or machine")
    if receipt.received_at > services.now():
        return ReceiptFound(path, problem=f"the receipt {path} is dated in the future")
    return ReceiptFound(path, receipt)


def replaced_images(receipt: Receipt, services: Services) -> list[str]:
    """Return the references that now name other content in the daemon than what was loaded.

    Removed images and unreachable daemons are not reported.
    """
    found = []
    for image in receipt.images:
        try:
            if services.engine.url != receipt.daemon:
                break
            held = services.engine.inspect(image.reference)
        except ImageNotFound:
            continue
        except (ConfigurationError, RemoteError):
            break
        if held.image_id != image.image_id:
            found.append(image.reference)
    return found


def receipts_folder(environ: Mapping[str, str]) -> Path:
    """Return where receipts are kept: ``JENKINS_RELEASE_RECEIPTS``, else the XDG state folder.

    Relative values of ``XDG_STATE_HOME`` are ignored, as the XDG Base Directory Specification requires.

    Raises:
        ConfigurationError: It is below a home folder that is unknown, such as that of a user id that no
            passwd file names.
    """
    if given := environ.get(RECEIPTS):
        return expand_home(given).absolute()
    state = Path(environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():
        home = environ.get("HOME")
        state = (Path(home) if home else expand_home("~")) / ".local" / "state"
    return state / "jenkins-release" / "receipts"


def _make_private(folder: Path) -> None:
    for each in reversed([folder, *folder.parents]):
        if not each.exists():
            each.mkdir(exist_ok=True, mode=0o700)


def _host() -> str:
    # A folder for each machine, so that agents with a shared home do not use each other's receipts.
    return re.sub(r"[^A-Za-z0-9_-]", "_", socket.gethostname()) or "_"


def _read_own(path: Path) -> bytes:
    """Read a file that only this user and root could have written.

    Raises:
        OSError: It cannot be read.
        IntegrityError: Others could have written it.
    """
    _check_own(path.parent, path.parent.lstat(), stat.S_ISDIR, "folder")
    try:
        # Without O_NONBLOCK, a pipe instead of the file would block the command for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            raise IntegrityError(f"the receipt {path} is a symbolic link") from error
        raise
    with os.fdopen(handle, "rb") as file:
        _check_own(path, os.fstat(handle), stat.S_ISREG, "file")
        return file.read(MAX_RECORD_BYTES + 1)


def _check_own(path: Path, found: os.stat_result, right: Any, kind: str) -> None:
    if not right(found.st_mode):
        raise IntegrityError(f"the receipt's {kind} {path} is not a {kind}")
    if found.st_uid != os.geteuid():
        raise IntegrityError(f"the receipt's {kind} {path} belongs to another user (uid {found.st_uid})")
    if found.st_mode & _OTHERS_WRITE:
        mode = stat.S_IMODE(found.st_mode)
        raise IntegrityError(f"the receipt's {kind} {path} can be written by others (mode {mode:04o})")
