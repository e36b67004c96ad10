"""The sandbox's servers as processes: started, driven over their control paths, ended by pid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from boto3.session import Session

from jenkins_release.base.errors import RemoteError
from jenkins_release.registry import EcrRegistry
from jenkins_release.sandbox.aws.moto_server import MotoServer
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.state import REGION
from jenkins_release.sandbox.front.server import EcrServer
from jenkins_release.sandbox.process import listening
from jenkins_release.sandbox.registry import RegistryServer
from tests.fixtures.ecr import PULL_ONLY
from tests.fixtures.ecr_push import Pusher

REPOSITORY = "skydrm/rms"


@pytest.fixture
def server(
    registry_server: RegistryServer, tmp_path: Path, no_aws: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EcrServer]:
    """An ECR front in a process of its own."""
    started = EcrServer(tmp_path / "ecr", registry_server.port)
    started.start(tied=True)
    for name, value in started.environment().items():
        monkeypatch.setenv(name, value)
    yield started
    started.stop()


def test_the_front_works_as_a_process(server: EcrServer) -> None:
    """The client sees no difference between the process and the thread."""
    registry = EcrRegistry(REGION)
    registry.create_repository(REPOSITORY)
    pushed = Pusher(server.endpoint, registry.login().password).image(REPOSITORY, "one", "8.1.0")
    assert registry.images(REPOSITORY, ["8.1.0"])["8.1.0"].digest == pushed.digest
    assert registry.host == server.host


def test_faults_and_the_log_cross_the_process(server: EcrServer) -> None:
    """What is ordered happens there, and what was asked can be read here."""
    server.order(Fault(action="CreateRepository", status=500))
    EcrRegistry(REGION).create_repository(REPOSITORY)
    assert [(each.label, each.status) for each in server.requests()] == [
        ("CreateRepository", 500),
        ("CreateRepository", 200),
    ]
    server.order(Fault(action="*", count=None, status=500))
    server.cancel_faults()
    assert EcrRegistry(REGION).repository(REPOSITORY).name == REPOSITORY


def test_users_are_added_while_it_runs(server: EcrServer) -> None:
    """A customer exists at once, and is gone when the key is switched off."""
    key, secret = server.add_user("customer", PULL_ONLY)
    customer = Session().client("ecr", aws_access_key_id=key, aws_secret_access_key=secret)
    assert customer.get_authorization_token()["authorizationData"]
    server.set_key_active(key, False)
    with pytest.raises(customer.exceptions.ClientError, match="UnrecognizedClientException"):
        customer.get_authorization_token()


def test_repositories_are_forgotten_by_their_prefix(server: EcrServer) -> None:
    """Those of a name that only begins alike stay."""
    registry = EcrRegistry(REGION)
    for name in ("one/rms", "one/viewer", "one2/rms"):
        registry.create_repository(name)
    server.forget_repositories("one")
    found = Session().client("ecr", region_name=REGION).describe_repositories()["repositories"]
    assert [each["repositoryName"] for each in found] == ["one2/rms"]


def test_repositories_are_put_back_as_they_were_saved(server: EcrServer) -> None:
    """With their images and tags; what was made below the prefix since then is gone."""
    registry = EcrRegistry(REGION)
    registry.create_repository("one/rms")
    token = registry.login()
    Pusher(f"http://{token.registry}", token.password).image("one/rms", "first", "1")
    saved = server.saved_repositories("one")
    before = registry.images("one/rms", ["1"])
    registry.remove_tag("one/rms", "1")
    registry.create_repository("one/viewer")
    registry.create_repository("one2/rms")
    server.restore_repositories("one", saved)
    found = Session().client("ecr", region_name=REGION).describe_repositories()["repositories"]
    assert sorted(each["repositoryName"] for each in found) == ["one/rms", "one2/rms"]
    assert registry.images("one/rms", ["1"]) == before


def test_control_paths_refuse_what_they_do_not_understand(server: EcrServer) -> None:
    """A wrong order is an error, without quoting what was sent."""
    wrong = requests.post(f"{server.endpoint}/_sandbox/faults", json={"statuz": "SECRET"}, timeout=10)
    assert wrong.status_code == 400
    assert "SECRET" not in wrong.text
    assert requests.get(f"{server.endpoint}/_sandbox/nothing", timeout=10).status_code == 404
    with pytest.raises(RemoteError, match="refused POST keys"):
        server.set_key_active("AKIANOBODY", False)


def test_a_restarted_front_knows_everything(server: EcrServer) -> None:
    """The state folder is all there is."""
    EcrRegistry(REGION).create_repository(REPOSITORY)
    server.stop()
    assert server.pid() is None
    assert not listening(server.port)
    server.start(tied=True)
    assert EcrRegistry(REGION).repository(REPOSITORY).mutability == "IMMUTABLE"


def test_a_front_on_a_taken_port_is_an_error(
    server: EcrServer, registry_server: RegistryServer, tmp_path: Path
) -> None:
    """Another server that answers on the port is not taken for ours."""
    second = EcrServer(tmp_path / "second", registry_server.port, port=server.port)
    with pytest.raises(RemoteError, match=f"port {server.port} is taken"):
        second.start(tied=True)


def test_moto_serves_the_rest_of_aws_on_loopback(
    tmp_path: Path, no_aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IAM works against it; it listens on loopback only, and ends by its pid."""
    moto = MotoServer(tmp_path / "moto")
    pid = moto.start(tied=True)
    for name, value in moto.environment().items():
        monkeypatch.setenv(name, value)
    try:
        Session().client("iam").create_user(UserName="customer")
        assert Session().client("iam").list_users()["Users"][0]["UserName"] == "customer"
        assert f"0100007F:{moto.port:04X}" in Path(f"/proc/{pid}/net/tcp").read_text()
        assert f"00000000:{moto.port:04X}" not in Path(f"/proc/{pid}/net/tcp").read_text()
    finally:
        moto.stop()
    assert not listening(moto.port)


def test_the_registry_keeps_what_was_pushed(tmp_path: Path) -> None:
    """A restarted registry on the same folder has the same content."""
    first = RegistryServer(tmp_path / "registry")
    first.start(tied=True)
    try:
        Pusher(f"http://{first.host}", "unused").image("a/b", "one", "1")
    finally:
        first.stop()
    assert first.pid() is None
    second = RegistryServer(tmp_path / "registry")
    second.start(tied=True)
    try:
        assert requests.get(f"http://{second.host}/v2/a/b/tags/list", timeout=10).json()["tags"] == ["1"]
    finally:
        second.stop()
