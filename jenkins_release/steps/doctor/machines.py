"""The machines of a release, and what each needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from jenkins_release.base.dataclass import dataclass
from jenkins_release.config.model import Role

Machine = Literal["all", "build", "qa", "approve", "promote", "publish"]


@dataclass(frozen=True)
class Needs:
    """What a machine needs.

    Attributes:
        roles: The keys that it signs with.
        releases: Whether it writes to the release area.
        docker: Whether it needs a Docker daemon: always, for a promotion through Docker, or never.
        registry: What it does in Amazon ECR.
        jenkins: Whether it talks to Jenkins.
        elsewhere: Whether portal and ledger are looked at too.
    """

    roles: tuple[Role, ...]
    releases: bool = False
    docker: Literal["", "push", "always"] = ""
    registry: Literal["", "read", "push"] = ""
    jenkins: bool = False
    elsewhere: bool = False


MACHINES: Mapping[Machine, Needs] = {
    "all": Needs(
        ("build", "qa", "request", "approval", "override", "promotion"),
        releases=True,
        docker="always",
        registry="push",
        jenkins=True,
        elsewhere=True,
    ),
    "build": Needs(("build",), docker="always"),
    "qa": Needs(("qa",), docker="always"),
    "approve": Needs(("request", "approval"), registry="read", jenkins=True),
    "promote": Needs(("promotion",), docker="push", registry="push"),
    "publish": Needs(("promotion",), releases=True),
}
"""By what is done there. ``all`` is for the first machine of a trial, which does everything."""
