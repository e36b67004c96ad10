"""Where a Docker daemon listens: ``DOCKER_HOST``, a Docker context, or a given address.

The order is that of the Docker command line. Invalid addresses are refused before a daemon is contacted: the
SDK misinterprets some of them, and fails late.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from docker.tls import TLSConfig

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError

DEFAULT_URL = "unix:///var/run/docker.sock"
"""Where a daemon listens by default."""

_HOST_AND_PORT = re.compile(r"(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):[0-9]+")
_QUOTES = "'\"`\u2018\u2019\u201c\u201d"
_SOCKET_PATH_BYTES = 107
"""Longest path of a socket (``sun_path`` in unix(7), without the zero byte)."""
_EXAMPLES = "write unix:///var/run/docker.sock, tcp://host:2376 or ssh://user@host"
_TLS_FILES = ("ca.pem", "cert.pem", "key.pem")


@dataclass(frozen=True)
class DaemonAddress:
    """Where a daemon listens.

    Attributes:
        url: The address in the form for the Docker SDK.
        tls: Certificates, if TLS is used.
    """

    url: str
    tls: TLSConfig | None = None


@dataclass(frozen=True)
class _Stated:
    """An address as configured, and where."""

    text: str
    place: str
    folder: Path | None = None
    verify: bool = True

    def refused(self, why: str, hint: str = _EXAMPLES) -> ConfigurationError:
        return ConfigurationError(
            f"the Docker daemon's address {self.text!r}{self.place} cannot be used: {why}", hint=hint
        )


def find_daemon(given: str | None, environ: Mapping[str, str]) -> DaemonAddress:
    """Return where the daemon is and how to reach it, without connecting.

    Args:
        given: Its address; None takes ``DOCKER_HOST``, else the context that ``DOCKER_CONTEXT`` or
            ``docker context use`` names, else the local socket.
        environ: The environment, including ``DOCKER_TLS_VERIFY``, ``DOCKER_CERT_PATH`` and ``DOCKER_CONFIG``.

    Raises:
        ConfigurationError: The address or its TLS settings cannot be used, or the context does not exist.
    """
    given = (given or "").strip()
    stated = _stated(given, environ)
    url = _checked(stated)
    if stated.folder is not None:
        found = any((stated.folder / name).exists() for name in _TLS_FILES)
        return DaemonAddress(url, _tls(stated.folder, f"{stated.place} ", stated.verify) if found else None)
    if given and not url.startswith(("tcp:", "http:", "https:")):
        return DaemonAddress(url)
    return DaemonAddress(url, _tls_of(environ))


def _stated(given: str, environ: Mapping[str, str]) -> _Stated:
    if given:
        return _Stated(given, "")
    if host := environ.get("DOCKER_HOST", "").strip():
        return _Stated(host, " in DOCKER_HOST")
    folder = _configuration_folder(environ)
    name, place = environ.get("DOCKER_CONTEXT", ""), " (DOCKER_CONTEXT)"
    if not name and folder is not None:
        name, place = _current_context(folder), f" (currentContext in {folder / 'config.json'})"
    if name in {"", "default"}:
        return _Stated(DEFAULT_URL, "")
    return _context(name, place, folder)


def _configuration_folder(environ: Mapping[str, str]) -> Path | None:
    if folder := environ.get("DOCKER_CONFIG"):
        return Path(folder)
    return Path(environ["HOME"], ".docker") if environ.get("HOME") else None


def _current_context(folder: Path) -> str:
    document = _read_json(folder / "config.json")
    name = document.get("currentContext") if isinstance(document, dict) else None
    return name if isinstance(name, str) else ""


def _context(name: str, place: str, folder: Path | None) -> _Stated:
    # Where the Docker command line keeps contexts: cli/context/store of github.com/docker/cli.
    ident = hashlib.sha256(name.encode()).hexdigest()
    document = None if folder is None else _read_json(folder / "contexts" / "meta" / ident / "meta.json")
    try:
        endpoint: dict[str, Any] = document["Endpoints"]["docker"]  # type: ignore[index]
        host, skip = endpoint["Host"], endpoint.get("SkipTLSVerify", False)
    except (KeyError, TypeError, AttributeError):
        host, skip = None, False
    if folder is None or not isinstance(host, str) or not host:
        raise ConfigurationError(
            f"there is no Docker context {name!r}{place}",
            hint="`docker context ls` lists this user's contexts; DOCKER_HOST takes precedence",
        )
    return _Stated(
        host.strip(),
        f" of the Docker context {name!r}",
        folder / "contexts" / "tls" / ident / "docker",
        skip is not True,
    )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        # As in Docker, an unreadable file counts as missing.
        return None


def _checked(stated: _Stated) -> str:
    """Return the address in the form for the SDK."""
    text = stated.text
    if text[0] in _QUOTES or text[-1] in _QUOTES:
        raise stated.refused(
            "it is in quotes",
            "write it without quotes: in a file of environment variables, they are part of the value",
        )
    if not text.isprintable() or " " in text:
        raise stated.refused("it contains a space or a control character")
    scheme, mark, rest = text.partition("://")
    if not mark:
        return _without_scheme(stated)
    scheme = scheme.lower()
    if scheme in {"unix", "http+unix"}:
        return _socket(stated, rest)
    if scheme == "fd":
        raise stated.refused(
            "fd:// is how systemd passes its socket to the daemon; programs cannot connect to it",
            f"write {DEFAULT_URL}",
        )
    if scheme == "npipe":
        raise stated.refused("named pipes exist only on Windows")
    if scheme not in {"tcp", "http", "https", "ssh"}:
        raise stated.refused(f"{scheme}:// is not supported")
    return _host(stated, scheme)


def _without_scheme(stated: _Stated) -> str:
    text = stated.text
    if text.startswith(("/", ".", "~")) or text.endswith(".sock"):
        path = text if text.startswith("/") else "/PATH/docker.sock"
        raise stated.refused("it is a path, expected a URL", f"write unix://{path}")
    if _HOST_AND_PORT.fullmatch(text):
        return _host(_Stated(f"tcp://{text}", stated.place), "tcp")
    raise stated.refused("it names no scheme")


def _socket(stated: _Stated, path: str) -> str:
    if not path:
        return DEFAULT_URL
    if not path.startswith("/"):
        raise stated.refused("the path of a socket begins with /", f"write unix:///{path}")
    if "?" in path or "#" in path:
        raise stated.refused("the path of a socket must not contain ? or #")
    if len(path.encode()) > _SOCKET_PATH_BYTES:
        raise stated.refused(
            f"its path has {len(path.encode())} bytes, at most {_SOCKET_PATH_BYTES} are allowed for a socket",
            "use a link with a shorter path",
        )
    return f"unix://{path}"


def _host(stated: _Stated, scheme: str) -> str:
    try:
        parts = urlsplit(stated.text)
        port = parts.port
    except ValueError as error:
        raise stated.refused(str(error)) from error
    if parts.password is not None:
        # Refused here, because the SDK would show it in its messages.
        raise ConfigurationError(
            f"the Docker daemon's URL ({scheme}://{parts.hostname}){stated.place} contains a password",
            hint="remove it from DOCKER_HOST: Docker authenticates with TLS certificates or over SSH",
        )
    if not _is_host(parts.hostname):
        raise stated.refused("it names no host" if not parts.hostname else "its host name is invalid")
    if parts.query or parts.fragment:
        raise stated.refused("it contains ? or #")
    if scheme == "ssh":
        return _over_ssh(stated, parts)
    if not port:
        raise stated.refused(
            "it names no port",
            f"write {scheme}://{parts.hostname}:2376 for a daemon with TLS, or :2375 for one without",
        )
    return stated.text


def _is_host(name: str | None) -> bool:
    try:
        return bool(name) and bool(str(name).encode("idna"))
    except UnicodeError:
        return False


def _over_ssh(stated: _Stated, parts: SplitResult) -> str:
    if parts.path.strip("/"):
        raise stated.refused(
            "ssh:// must not have a path",
            "DOCKER_HOST of the account on that host says where the daemon listens",
        )
    if not _has_paramiko():
        raise stated.refused(
            "ssh:// needs the package paramiko, which is not installed",
            "install jenkins-release[ssh], or run this command on the daemon's machine",
        )
    return stated.text.rstrip("/")


def _has_paramiko() -> bool:
    try:
        import_module("paramiko")
    except ImportError:
        return False
    return True


def _tls_of(environ: Mapping[str, str]) -> TLSConfig | None:
    verify, folder = environ.get("DOCKER_TLS_VERIFY", "") != "", environ.get("DOCKER_CERT_PATH", "")
    if not verify and not folder:
        return None
    home = environ.get("HOME") or "~"
    place = "DOCKER_CERT_PATH" if folder else "DOCKER_TLS_VERIFY"
    return _tls(Path(folder) if folder else Path(home, ".docker").expanduser(), f"{place}: ", verify)


def _tls(folder: Path, place: str, verify: bool) -> TLSConfig:
    authority, certificate, key = (str(folder / name) for name in _TLS_FILES)
    needed = _TLS_FILES if verify else _TLS_FILES[1:]
    hint = "check DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, the folder with ca.pem, cert.pem and key.pem"
    if missing := [name for name in needed if not (folder / name).is_file()]:
        raise ConfigurationError(
            f"the Docker TLS settings cannot be used: {place}{folder} has no {', '.join(missing)}", hint=hint
        )
    try:
        context = ssl.create_default_context(cafile=authority if verify else None)
        # Docker must not ask for a key's passphrase in the middle of a build.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the Docker TLS settings cannot be used: {place}the certificates in {folder} cannot be read, or "
            f"do not match the key: {error}",
            hint=hint,
        ) from error
    return TLSConfig(client_cert=(certificate, key), ca_cert=authority, verify=verify)
