"""What sessions of AWS share: the descriptions of services, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader

from jenkins_release.aws import aws_client
from jenkins_release.base.errors import RemoteError
from jenkins_release.base.parallel import map_parallel

REGION = "eu-central-1"
INVENTED = {
    "version": "2.0",
    "metadata": {
        "apiVersion": "2026-01-01",
        "endpointPrefix": "invented",
        "protocol": "json",
        "serviceId": "Invented",
        "signatureVersion": "v4",
        "targetPrefix": "Invented",
    },
    "operations": {"Ask": {"name": "Ask", "http": {"method": "POST", "requestUri": "/"}}},
    "shapes": {},
}


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "first")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    (tmp_path / "config").write_text("")


def test_the_descriptions_of_a_service_are_read_once(monkeypatch: pytest.MonkeyPatch):
    """The second client opens none of botocore's files, also with other credentials."""
    read: list[str] = []
    load = JSONFileLoader.load_file

    def noted(loader: JSONFileLoader, path: str) -> Any:
        read.append(path)
        return load(loader, path)

    aws_client("ecr", REGION).close()
    monkeypatch.setattr(JSONFileLoader, "load_file", noted)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "second")
    client = aws_client("ecr", "eu-west-1")
    client.close()
    assert read == []
    assert client.meta.region_name == "eu-west-1"


def test_clients_share_no_credentials_setting_or_handler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Each has the environment and the profile of the moment in which it was opened."""
    first = aws_client("ecr", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "second")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    second = aws_client("ecr", REGION)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    (tmp_path / "config").write_text(
        "[profile third]\naws_access_key_id = third\naws_secret_access_key = s\n"
        "endpoint_url = http://127.0.0.1:3\n"
    )
    third = aws_client("ecr", REGION, profile="third")
    heard: list[Any] = []
    first.meta.events.register("own-event", lambda **_: heard.append(1))
    second.meta.events.emit("own-event")
    clients = (first, second, third)
    ids = [each._request_signer._credentials.access_key for each in clients]
    ends = [each.meta.endpoint_url for each in clients]
    for each in clients:
        each.close()
    assert ids == ["first", "second", "third"]
    assert ends == [f"https://api.ecr.{REGION}.amazonaws.com", "http://127.0.0.1:1", "http://127.0.0.1:3"]
    assert heard == []


def test_each_client_understands_old_names_of_events():
    """A name that one client has translated leads to no handler of another."""
    heard: list[str] = []
    clients = {name: aws_client("ecr", REGION) for name in ("first", "second")}
    for name, client in clients.items():
        client.meta.events.register("own-event.api.sagemaker", lambda *, own=name, **_: heard.append(own))
    for client in clients.values():
        client.meta.events.emit("own-event.sagemaker.Ask")
        client.meta.events.emit("own-event.api.sagemaker.Ask")
        client.close()
    assert heard == ["first", "first", "second", "second"]


def test_other_folders_of_descriptions_are_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A service that one folder describes exists as long as ``AWS_DATA_PATH`` names the folder."""
    folder = tmp_path / "data" / "invented" / "2026-01-01"
    folder.mkdir(parents=True)
    (folder / "service-2.json").write_text(json.dumps(INVENTED))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path / "data"))
    client = aws_client("invented", REGION)
    client.close()
    assert hasattr(client, "ask")
    monkeypatch.delenv("AWS_DATA_PATH")
    with pytest.raises(RemoteError, match="Unknown service: 'invented'"):
        aws_client("invented", REGION)


def test_threads_may_open_clients_at_the_same_time():
    """Each gets one that knows its service."""

    def opened(service: str) -> str:
        client = aws_client(service, REGION)
        client.close()
        return str(client.meta.service_model.service_name)

    services = ["ecr", "iam", "ecs", "ssm", "kms", "secretsmanager", "inspector2", "sts"] * 2
    assert list(map_parallel(opened, services)) == services
