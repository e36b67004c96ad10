"""Loads an archive into a daemon (``POST /images/load``), all of it or nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from jenkins_release.base.errors import IntegrityError, ReleaseError
from jenkins_release.images.docker_client import api_url, daemon_error, translated
from jenkins_release.images.docker_daemon import Daemon
from jenkins_release.images.push_answer import error_of

_HELD_BACK = 64 << 10
_PIECE = 1 << 20
_BAD_ARCHIVE = re.compile(
    r"unexpected EOF|tar header|archive/tar|tar file|no such file or directory|diff ?id|breakout|digest"
    r"|invalid character|cannot unmarshal|unexpected end of JSON|match|invalid reference|invalid manifest"
    r"|unrecognized image format|filtered out|not found|checksum",
    re.IGNORECASE,
)

_BAD_LAYER = re.compile(r"frame header|gzip: invalid header|flate: corrupt|bzip2 data invalid|xz: \(stdin\)")


def load_archive(client: Daemon, archive: Iterable[bytes]) -> list[str]:
    """Send an archive and read every line of the daemon's answer.

    Args:
        client: The daemon.
        archive: The archive.

    Returns:
        What the daemon says that it loaded.

    Raises:
        BaseException: What ``archive`` raised, unchanged; nothing was loaded then.
        IntegrityError: The daemon finds the archive damaged or incomplete.
        RemoteError: The daemon failed.
    """
    body, url = LoadBody(archive), client.url
    loaded = []
    call = client.call("load", _PIECE)
    try:
        with translated(url, "load"):
            with call:
                answer = client.post(
                    api_url(client, "/images/load"),
                    # Without ``quiet``, a daemon may answer before it has read the body, which ends the load.
                    params={"quiet": "1"},
                    headers={"Content-Type": "application/x-tar"},
                    data=client.sending(body, call),
                    stream=True,
                    timeout=client.timeout_s,
                )
            with answer:
                if not answer.ok:
                    raise _load_error(url, client.message(answer, call))
                for line in client.lines(answer, call, "load"):
                    if message := error_of(line):
                        raise _load_error(url, message)
                    if str(line.get("stream")).startswith("Loaded image"):
                        loaded.append(str(line["stream"]).strip())
    except BaseException:
        if body.failure is not None:
            raise body.failure  # noqa: B904 - the transport's error is only a consequence of this one
        raise
    if not loaded:
        raise IntegrityError(f"load: the Docker daemon at {url} found no image in the archive")
    return loaded


class LoadBody:
    """The body of a load request.

    A daemon may act on an archive as soon as it has seen the end-of-archive blocks, before the request has
    ended. So the last bytes are held back until the source has reported that it is done: a source that fails,
    even after its last byte, leaves the daemon with a truncated archive and a broken request.

    Args:
        archive: The source.
    """

    def __init__(self, archive: Iterable[bytes]) -> None:
        self._archive = archive
        self.failure: BaseException | None = None
        """What the source raised, if anything: the transport may have wrapped it in its own error."""

    def __iter__(self) -> Iterator[bytes]:
        held = b""
        try:
            for chunk in self._archive:
                held = bytes(chunk) if not held else held + chunk
                if len(held) > _HELD_BACK:
                    yield held[:-_HELD_BACK]
                    held = held[-_HELD_BACK:]
        except BaseException as error:
            self.failure = error
            raise
        if held:
            yield held


def _load_error(url: str, message: str) -> ReleaseError:
    if _BAD_LAYER.search(message):
        return IntegrityError(
            f"load: the Docker daemon at {url} cannot decompress a layer: {message}",
            hint="the archive is damaged, or a layer looks compressed because of the name of its "
            'first file: then set export.layers = "gzip"',
        )
    if "no space left on device" not in message and _BAD_ARCHIVE.search(message):
        return IntegrityError(
            f"load: the Docker daemon at {url} does not accept the archive: {message}",
            hint="the archive is damaged or incomplete: verify it against its recorded digest",
        )
    return daemon_error(url, "load", message)
