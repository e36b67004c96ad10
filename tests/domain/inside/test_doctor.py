"""The transcripts of docs/doctor.md for a domain."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from jenkins_release.keys import generate_key
from jenkins_release.sandbox.domain.domain import Domain
from tests.docs import scenarios
from tests.docs.pages import ROOT
from tests.doctor.machine import Desk
from tests.domain.inside.conftest import on
from tests.fixtures.configuration import trusted_key
from tests.fixtures.domain import LOCATION


@pytest.mark.usefixtures("open_domain")
def test_a_good_and_bad_set_ups(links: Domain, tickets: Path, tmp_path: Path) -> None:
    """Each as the page shows it."""
    for server in links.file_servers:
        for name in ("release_candidate", "releases"):
            (on(links, server) / name).mkdir(exist_ok=True)
    links.link("moved", r"gone.corp.example\data", r"fs1.corp.example\data")
    desk = Desk(tmp_path, {"JENKINS_RELEASE_KEY_PASSPHRASE": links.password})
    for role in ("qa", "promotion"):
        generate_key(tmp_path / f"{role}.pem", "ed25519", SecretStr(links.password))
    desk.of(
        rf"{LOCATION}\release_candidate",
        '[signing]\npromotion_key = "file2:promotion.pem"\n',
        *(trusted_key(role, f"{role}.pem.pub") for role in ("qa", "promotion")),
        releases=rf"{LOCATION}\releases",
    )
    realm = "[realms]\n  CORP.EXAMPLE = {\n    kdc = 10.88.0.9\n  }\n"
    (tmp_path / "other-krb5.conf").write_text(links.krb5_conf.read_text() + realm)
    environ = {
        "KRB5_CONFIG": str(links.krb5_conf),
        "KRB5CCNAME": f"FILE:{tickets}",
        **desk.environ,
        "JENKINS_RELEASE_SMB_USER": "release@corp.example",
        "JENKINS_RELEASE_SMB_PASSWORD": links.password,
    }
    place = scenarios.Place(tmp_path, {**scenarios.bare(tmp_path).environ, **environ})
    scenarios.run(ROOT / "docs" / "doctor.md", "domain", place)
