"""What a sandbox needs from the machine, checked before anything is started or created."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.sandbox.process import locate_program, root_refused

PROGRAMS = {
    "smbd": "samba",
    "pdbedit": "samba",
    "docker-registry": "docker-registry",
    "busybox": "busybox-static",
}
"""Programs that every sandbox needs, with their Debian packages."""
DAEMON = {"dockerd": "docker.io"}
"""Program of the sandbox's own Docker daemon."""
DOMAIN = {
    "samba": "samba-ad-dc",
    "winbindd": "winbind",
    "net": "samba-common-bin",
    "ip": "iproute2",
}
"""Programs of a domain."""
_SCHEMA = "/usr/share/samba/setup"
"""Where Samba's directory begins."""
_KERBEROS = ("gssapi", "krb5")
_KERBEROS_EXTRA = "pip install 'jenkins-release[kerberos]'"
_MOTO = ("moto", "werkzeug", "flask", "flask_cors")
_EXTRA = "pip install 'jenkins-release[sandbox]'"
DAEMON_HINT = (
    "with a Docker daemon that this user may use, no root is needed: "
    "usermod -aG docker USER, as root, and log in again; or set DOCKER_HOST"
)


def check_needs(*, own_docker: bool, daemon: str = "", domain: bool = False) -> None:
    """Raise one error with everything that the sandbox lacks.

    Args:
        own_docker: Whether the sandbox starts its own Docker daemon, which requires root.
        daemon: Why no existing daemon can be used instead.
        domain: Whether its share is that of a domain.

    Raises:
        ConfigurationError: Something is missing; each reason says what to do.
    """
    wanted = {**PROGRAMS, **(DAEMON if own_docker else {}), **(DOMAIN if domain else {})}
    absent = {name: package for name, package in wanted.items() if locate_program(name) is None}
    reasons = [f"{name} is not installed: apt-get install {package}" for name, package in absent.items()]
    if domain and not Path(_SCHEMA).is_dir():
        reasons.append("samba's schema is not installed: apt-get install samba-ad-provision")
    if domain and (lacking := [name for name in _KERBEROS if find_spec(name) is None]):
        reasons.append(f"Python packages are not installed ({', '.join(lacking)}): {_KERBEROS_EXTRA}")
    if lacking := [name for name in _MOTO if find_spec(name) is None]:
        reasons.append(f"Python packages are not installed ({', '.join(lacking)}): {_EXTRA}")
    why = root_refused() if own_docker else ""
    if why:
        reasons.append(f"starting a private Docker daemon requires root: {why}")
        reasons.append(f"no existing Docker daemon is usable{f': {daemon}' if daemon else ''}")
    if reasons:
        raise ConfigurationError(
            f"the sandbox cannot start here: {_count(reasons)}",
            reasons=reasons,
            hint=_hint(sorted(set(absent.values())), no_root=bool(why)),
        )


def _count(reasons: Sequence[str]) -> str:
    return "one thing is missing" if len(reasons) == 1 else f"{len(reasons)} things are missing"


def _hint(packages: Sequence[str], *, no_root: bool) -> str:
    hints = []
    if packages:
        hints.append(f"as root: apt-get install -y --no-install-recommends {' '.join(packages)}")
    if no_root:
        hints.append(DAEMON_HINT)
    return "; ".join(hints)
