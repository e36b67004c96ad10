"""What botocore knows of services is found faster, and is the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.exceptions import UnknownServiceError
from botocore.loaders import Loader, create_loader

from jenkins_release.aws.descriptions import Descriptions

SERVICES = ["ecr", "iam", "s3", "sts", "kms", "ssm", "ecs", "inspector2"]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("kind", ["service-2", "endpoint-rule-set-1"])
def test_descriptions_are_those_of_botocore(service: str, kind: str):
    """Also the order of names, which decides what is signed."""
    ours, theirs = (each.load_service_model(service, kind) for each in (Descriptions(None), Loader()))
    assert ours == theirs
    assert list(ours) == list(theirs)


@pytest.mark.parametrize("name", ["endpoints", "partitions", "sdk-default-configuration", "_retry"])
def test_what_all_services_share_is_that_of_botocore(name: str):
    """Regions of every partition among it."""
    assert Descriptions(None).load_data(name) == Loader().load_data(name)


def test_an_unknown_service_is_refused_with_the_names_of_all():
    """As botocore does."""
    told = []
    for each in (Descriptions(None), Loader()):
        with pytest.raises(UnknownServiceError) as caught:
            each.load_service_model("no-such-service", "service-2")
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_further_folders_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``AWS_DATA_PATH``, with variables and the home folder."""
    folder = tmp_path / "own" / "made-up" / "2026-01-01"
    folder.mkdir(parents=True)
    (folder / "service-2.json").write_text('{"metadata": {"apiVersion": "2026-01-01"}}')
    monkeypatch.setenv("HERE", str(tmp_path))
    for paths in ("$HERE/own:~/none", f"/none:{tmp_path}/own", ""):
        ours, theirs = Descriptions(paths), create_loader(paths)
        assert ours.search_paths == theirs.search_paths
        if paths:
            assert ours.load_service_model("made-up", "service-2") == theirs.load_service_model(
                "made-up", "service-2"
            )
