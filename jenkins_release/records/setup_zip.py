"""The setup zip as bytes: always written the same way, and never trusted when read.

Members are stored, not compressed: deflate streams differ between builds of zlib, so the bytes could not be
reproduced elsewhere. The format is PKWARE's APPNOTE.TXT; modes are in the upper half of the external
attributes, where Info-ZIP's ``unzip`` reads them.
"""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.names import check_path

MAX_ZIP_BYTES = 96 * 1024 * 1024
"""Largest setup zip: an attestation bundle may have 64 MiB, the rest has about 100 kB."""
MAX_MEMBERS = 1000
_UNIX = 3
_MODES = {True: stat.S_IFREG | 0o755, False: stat.S_IFREG | 0o644}
_HINT = "it was altered, or another program made it; get it again from where the release came from"


@dataclass(frozen=True)
class Member:
    """A file in the zip.

    Attributes:
        data: Its bytes.
        executable: Whether its mode is 0755 instead of 0644.
    """

    data: bytes = field(repr=False)
    executable: bool = False


def write_zip(folder: str, members: Mapping[str, Member], moment: datetime) -> bytes:
    """Return the zip's bytes, the same for the same arguments on every machine.

    Args:
        folder: The folder that everything unpacks to.
        members: Path below it to the file.
        moment: Time of every file; zip stores it with a resolution of two seconds, from 1980 on.
    """
    at = moment.astimezone(UTC)
    written = (max(at.year, 1980), at.month, at.day, at.hour, at.minute, at.second)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(members):
            info = zipfile.ZipInfo(f"{folder}/{path}", written)
            info.create_system = _UNIX
            info.external_attr = _MODES[members[path].executable] << 16
            archive.writestr(info, members[path].data)
    return out.getvalue()


def read_zip(data: bytes, where: str) -> tuple[str, dict[str, Member]]:
    """Parse a zip from an untrusted source.

    Args:
        data: The bytes of the file.
        where: Which file it is, for messages.

    Returns:
        The folder that it unpacks to, and path below it to the file.

    Raises:
        IntegrityError: It is not a zip that :func:`write_zip` made; ``reasons`` has every finding.
    """
    if len(data) > MAX_ZIP_BYTES:
        raise IntegrityError(
            f"{where} has more than {MAX_ZIP_BYTES} bytes, so it is not a setup zip", hint=_HINT
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            reasons = _problems(infos)
            members = {} if reasons else {info.filename: _member(archive, info) for info in infos}
    # zipfile raises NotImplementedError for a version that it does not know.
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, RuntimeError) as error:
        raise IntegrityError(f"{where} is not a zip that can be read: {error}", hint=_HINT) from error
    if reasons:
        raise IntegrityError(f"{where} is not a setup zip: {reasons[0]}", hint=_HINT, reasons=reasons)
    folder = next(iter(members)).partition("/")[0]
    return folder, {name.partition("/")[2]: member for name, member in members.items()}


def _problems(infos: list[zipfile.ZipInfo]) -> list[str]:
    if not infos or len(infos) > MAX_MEMBERS:
        return [f"it has {len(infos)} files, expected 1 to {MAX_MEMBERS}"]
    reasons = []
    for info in infos:
        mode = info.external_attr >> 16
        try:
            check_path(info.orig_filename)
        except ConfigurationError as error:
            reasons.append(error.message)
            continue
        if info.orig_filename != info.filename or "/" not in info.filename:
            reasons.append(f"{info.orig_filename!r} is not in the zip's own folder")
        elif info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 0x1:
            reasons.append(f"{info.filename} is compressed or encrypted")
        elif info.create_system != _UNIX or mode not in _MODES.values():
            reasons.append(f"{info.filename} is not a plain file of mode 0644 or 0755, but {mode:o}")
    names = [info.filename.casefold() for info in infos]
    reasons += [
        f"{name} is there more than once" for name in sorted({n for n in names if names.count(n) > 1})
    ]
    if len({info.filename.partition("/")[0] for info in infos}) > 1:
        reasons.append("its files are in several folders")
    return reasons


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    return Member(archive.read(info), executable=(info.external_attr >> 16) == _MODES[True])
