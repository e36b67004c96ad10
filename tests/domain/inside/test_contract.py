"""The share's contract, through a domain-based DFS path: with Kerberos, by password and by keytab."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from jenkins_release.sandbox.domain.domain import Domain
from jenkins_release.share import Share
from tests.fixtures.domain import LOCATION, Open
from tests.share.test_contract import (  # noqa: F401 - collected here
    TestCreate,
    TestFiles,
    TestLease,
    TestManyAtATime,
    TestNames,
    TestProtection,
    TestRemove,
    TestRename,
    TestRoom,
    TestServerCopy,
    TestThreads,
)

KINDS = ["password", "keytab"]


@pytest.fixture(params=KINDS)
def folder(domain: Domain) -> Path:
    """The share's root as the machine that serves it sees it."""
    path = domain.file_servers["fs1"].shares["data"].path / uuid4().hex
    path.mkdir()
    return path


@pytest.fixture
def share(request: pytest.FixtureRequest, folder: Path, open_domain: Open) -> Share:
    """The share under test."""
    location = rf"{LOCATION}\{folder.name}"
    if request.node.callspec.params["folder"] == "password":
        return open_domain(location, auth="kerberos")
    request.getfixturevalue("keytab")
    return open_domain(location, username=None, password=None)
