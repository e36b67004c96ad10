"""The doctor on whole machines: the sandbox's servers, all of them and each role; and what it never shows."""

from __future__ import annotations

import json
import logging
import signal
import sys
from pathlib import Path

import pytest

from jenkins_release.cli.doctor import MACHINES as OFFERED
from jenkins_release.steps.doctor.machines import MACHINES
from tests.doctor.machine import Desk, told
from tests.fixtures.notify import hook_section
from tests.fixtures.process import signalled, started
from tests.fixtures.raw_server import RawServer
from tests.fixtures.release import Product

SECRET = "hunter2-hunter2"


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_first_machine_of_a_trial(product: Product):
    """Everything that is set up is right, what is not is named, and nothing is left anywhere."""
    before = files(product.share), files(product.releases), product.tags()
    found = told(product)
    assert found.status == 0, found.result
    assert found.result["good"] is True
    assert not found.named("fail")
    # No account of AWS lets a principal ask this by itself, and the sandbox does not know the call.
    assert found.named("warning") == {"ecr: rights to push"}
    found.ended("program", "ok", "jenkins-release/", "Python 3")
    found.ended("configuration", "ok", "SkyDRM with 2 images")
    found.ended("docker: daemon", "ok", "linux/amd64, image store")
    found.ended("aws: identity", "ok", "arn:aws:")
    for name in product.names:
        found.ended(f"ecr: {product.prefix}/{name}", "ok", "the first promotion creates it")
    for name in ("build", "qa", "approval", "override", "promotion"):
        found.ended(f"key: {name}", "ok", f"is the trusted key {name!r}")
    for name in ("jenkins", "portal", "ledger", "notifications", "saas", "key: request"):
        found.ended(name, "skipped", "not configured")
    assert (files(product.share), files(product.releases), product.tags()) == before


def test_each_machine_looks_at_what_it_needs(product: Product):
    """QA's machine has no AWS, and a promotion through the registry no Docker."""
    areas = {machine: _areas(told(product, "--for", machine).named("ok", "warning")) for machine in MACHINES}
    always = {"program", "configuration", "share", "keys"}
    assert areas == {
        "all": always | {"release area", "docker", "aws", "ecr", "key"},
        "build": always | {"docker", "key"},
        "qa": always | {"docker", "key"},
        "approve": always | {"aws", "ecr", "key"},
        "promote": always | {"aws", "ecr", "key"},
        "publish": always | {"release area", "key"},
    }
    by_docker = told(product, "--for", "promote", JENKINS_RELEASE_PROMOTE_ENGINE="docker")
    by_docker.ended("docker: daemon", "ok")


def test_the_offered_machines_are_those_that_there_are():
    """The command repeats the list, so that its help is fast."""
    assert tuple(MACHINES) == OFFERED


def _areas(names: set[str]) -> set[str]:
    return {name.partition(":")[0] for name in names}


def test_a_docker_daemon_that_is_down(product: Product):
    """What needs it is not looked at; the rest is."""
    found = told(product, "--for", "qa", "--docker-host", "unix:///nowhere.sock")
    assert found.status == 5
    found.ended("docker: daemon", "fail", "/nowhere.sock")
    found.ended("docker: free space", "skipped", "not checked: needs docker: daemon")
    found.ended("key: qa", "ok")


def test_a_daemon_of_another_platform(product: Product):
    """Containers of the product would not run there."""
    product.append('[export]\nplatform = "linux/arm64"\n')
    told(product, "--for", "qa").ended("docker: daemon", "warning", "the images are for linux/arm64")


def test_portal_and_ledger_are_read(product: Product, tmp_path: Path):
    """What is configured is looked at without changing it."""
    for name in ("portal", "ledger"):
        (tmp_path / name).mkdir()
        product.append(f'[{name}]\nkind = "{"share" if name == "portal" else "folder"}"\n')
        product.append(f"location = {json.dumps(str(tmp_path / name))}\n")
    product.edit('kind = "share"', 'kind = "share"\naccess = "public"')
    found = told(product)
    found.ended("portal", "ok", "may be read; 0 files")
    found.ended("ledger", "ok", "may be read")
    assert not files(tmp_path / "portal") + files(tmp_path / "ledger")


def test_a_configuration_that_cannot_be_read(tmp_path: Path):
    """Every mistake is told, and that nothing else was looked at."""
    desk = Desk(tmp_path).of("/nowhere")
    desk.edit('name = "SkyDRM"', 'name = "SkyDRM"\ncolour = "blue"')
    found = told(desk)
    assert found.status == 2
    found.ended(
        "configuration", "fail", "1 mistake in the configuration", "product.colour: is not a known key"
    )
    found.ended("everything else", "skipped", "not checked: needs configuration")
    (tmp_path / "release.toml").unlink()
    told(desk).ended("configuration", "fail", "there is no configuration file")


def test_text_and_json_say_the_same(product: Product):
    """One line for each check, what to do below it, and the sum at the end; the same exit status."""
    words = ("--for", "qa", "--docker-host", "unix:///nowhere.sock")
    result, done = told(product, *words).result, product.run("doctor", *words)
    assert done.status == 5
    lines = done.out.splitlines()
    for check in result["checks"]:
        words_of = {"ok": "OK", "warning": "WARNING", "fail": "FAIL", "skipped": "SKIPPED"}
        assert any(
            line.startswith(words_of[check["status"]]) and f" {check['name']} " in line for line in lines
        ), (check, done.out)
        assert not check["hint"] or any(line.strip() == f"to do: {check['hint']}" for line in lines)
    assert lines[-1].startswith(f"{len(result['checks'])} checks: 1 failed, 0 warnings")
    assert result["error"]["category"] == "remote"
    assert result["good"] is False
    assert not done.out.count("Traceback")


@pytest.mark.parametrize("verbose", [(), ("-v",)])
def test_no_secret_is_shown(
    product: Product,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    verbose: tuple[str, ...],
):
    """With a secret in every place that may hold one, right and wrong ones, users in URLs among them."""
    caplog.set_level(logging.INFO)
    product.append(hook_section())
    secrets = {
        name: f"{SECRET}-{number}"
        for number, name in enumerate(
            (
                "JENKINS_RELEASE_SMB_PASSWORD",
                "JENKINS_RELEASE_JENKINS_TOKEN",
                "JENKINS_RELEASE_KEY_PASSPHRASE",
                "JENKINS_RELEASE_REGISTRY_PASSWORD",
                "JENKINS_RELEASE_SMTP_PASSWORD",
                "JENKINS_RELEASE_HANDOVER_PASSPHRASE",
                "JENKINS_RELEASE_CUSTOMER_KEY_SECRET",
                "GITHUB_TOKEN",
                "AWS_SECRET_ACCESS_KEY",
                "AWS_SESSION_TOKEN",
            )
        )
    }
    secrets["JENKINS_RELEASE_WEBHOOK_URL"] = f"https://127.0.0.1:9/hooks/{SECRET}-hook"
    right = {
        name: value
        for name, value in product.environ.items()
        if name.endswith(("PASSWORD", "PASSPHRASE", "ACCESS_KEY"))
    }
    urls = {
        "JENKINS_RELEASE_JENKINS_USER": "bob",
        "JENKINS_URL": f"http://bob:{SECRET}-url@127.0.0.1:9/",
        "DOCKER_HOST": f"tcp://{SECRET}-docker@127.0.0.1:9",
        "HTTPS_PROXY": f"http://proxy:{SECRET}-proxy@127.0.0.1:9",
        "BUILD_URL": f"http://bob:{SECRET}-build@127.0.0.1:9/job/1/",
    }
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, secrets[name])
    shown = []
    for changes in (
        secrets | urls,
        urls,
        {"DOCKER_HOST": f"ssh://{SECRET}-ssh@127.0.0.1:9"},
        {"JENKINS_RELEASE_JENKINS_URL": f"http://{SECRET}-user@127.0.0.1:9/"},
    ):
        file = tmp_path / "result.json"
        for form in ((), ("--json",)):
            done = product.run("doctor", *verbose, *form, "--result", str(file), **changes)
            assert done.status in {2, 5}, done.text
            shown += [done.text, file.read_text()]
    everything = "\n".join([*shown, caplog.text])
    assert SECRET not in everything
    for name, value in right.items():
        assert value not in everything, name


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_a_server_is_silent(tmp_path: Path, number: signal.Signals):
    """Two seconds are enough, whichever server it is."""
    (tmp_path / "share").mkdir()
    desk = Desk(tmp_path).of(tmp_path / "share")
    with RawServer(lambda _: None) as server:
        environ = {**desk.environ, "PATH": "/usr/bin:/bin", "DOCKER_HOST": f"tcp://{server.host}"}
        process = started([sys.executable, "-m", "jenkins_release", "doctor", "--for", "qa"], environ)
        ended = signalled(process, number, server.asked.is_set, settle_s=4.0)
    assert ended.status == 128 + number
    assert ended.took_s < 2.0
    assert "waiting for the Docker daemon" in ended.err
    assert not files(tmp_path / "share")
