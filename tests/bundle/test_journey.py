"""A customer's whole way on real parts: bundle, set-up, login, pull, run, upgrade, roll back, revoked."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from jenkins_release.images import DockerEngine
from jenkins_release.sandbox.demo_images import build_images
from jenkins_release.sandbox.ecr_state import ACCOUNT, REGION, Statement
from jenkins_release.sandbox.process import free_port
from jenkins_release.sandbox.stack import Sandbox
from tests.docs.pages import ROOT
from tests.fixtures.customer import Host
from tests.fixtures.release import JUNIT, Product, make_product

TEMPLATES = ROOT / "examples" / "skydrm" / "bundle"


OVERRIDE = """\
services:
  rms: &quick
    healthcheck: {interval: 500ms, timeout: 2s, retries: 3, start_period: 1s}
    labels: {com.acme.team: documents}
  viewer: *quick
  router: *quick
"""


def release(
    product: Product, engine: DockerEngine, version: str, build: str, broken: tuple[str, ...] = ()
) -> Path:
    """Build, export, sign off, promote a version, and return its setup zip."""
    build_images(engine, version, build, broken=broken)
    product.ok("candidate", "export", "--version", version, "--build", build)
    results = product.folder / "junit.xml"
    results.write_text(JUNIT)
    ident = f"{version}/{build}"
    product.ok("qa", "sign-off", ident, "--verdict", "pass", "--tester", "Quinn", "--results", str(results))
    product.ok("promote", "run", ident)
    out = product.folder / f"SkyDRM-setup-{version}.zip"
    product.ok("bundle", "build", version, "--out", str(out))
    return out


def unpack(file: Path, host: Host) -> Path:
    """Unpack a zip at the customer's, with the customer's own program."""
    copy = host.home / file.name
    shutil.copy(file, copy)
    host.give(copy)
    done = host.run("unzip", "-q", "-o", file.name)
    assert done.status == 0, done.text
    return host.home / file.stem


@pytest.fixture(scope="module")
def product(tmp_path_factory, sandbox: Sandbox, role_keys: Path) -> Product:
    """A product with SkyDRM's templates."""
    base = tmp_path_factory.mktemp("journey")
    with pytest.MonkeyPatch.context() as patch:
        made = make_product(base, sandbox, role_keys, patch)
        shutil.copytree(TEMPLATES, made.folder / "bundle")
        made.append(f'[bundle]\nlayer_host = "{sandbox.ecr.host}"\ndisk_gb = 1\nmemory_gb = 1\n')
        yield made


def test_from_the_portal_to_a_running_stack_and_back(
    product: Product, engine: DockerEngine, customer_host: Host
):
    """Set-up without a question in an empty folder, by a user without rights; every step is the customer's."""
    host = customer_host
    first = unpack(release(product, engine, "8.1.0", "42"), host)
    repositories = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{product.prefix}/*"
    pull = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"]
    key, secret = product.sandbox.ecr.add_user(
        "customers/acme",
        [Statement(actions=["ecr:GetAuthorizationToken"]), Statement(actions=pull, resources=[repositories])],
    )
    port = free_port()
    answers = host.home / "answers.txt"
    answers.write_text(
        f"SKYDRM_HOST=skydrm.acme.example\nSKYDRM_BIND=127.0.0.1\nSKYDRM_PORT={port}\n"
        f"AWS_ACCESS_KEY_ID={key}\nAWS_SECRET_ACCESS_KEY={secret}\n"
    )
    answers.chmod(0o600)
    host.give(answers)
    place = host.home / "acme's sky drm"
    place.mkdir()
    (place / "docker-compose.override.yml").write_text(OVERRIDE)
    host.give(place)
    started = time.monotonic()

    def said(what, done):
        nonlocal started
        print(f"--- {what}: {time.monotonic() - started:.1f} s, status {done.status}")
        print(done.out[-3000:])
        print("\n".join(l for l in done.err.splitlines() if not l.startswith((" ", "#")) or "  - " in l))
        started = time.monotonic()

    done = host.run(str(first / "setup.sh"), "--dir", str(place), "--answers", str(answers), "--start")
    said("setup", done)
    assert done.status == 0, done.text
    assert host.get(port) == "SkyDRM router 8.1.0\n"
    done = host.run(str(place / "setup.sh"), "--check")
    said("check", done)
    done = host.run(str(place / "verify.sh"), "--images", "--key", str(key_file(product, host)))
    said("verify", done)
    second = unpack(release(product, engine, "8.1.1", "50"), host)
    started = time.monotonic()
    done = host.run(str(second / "upgrade.sh"), "--dir", str(place))
    said("upgrade", done)
    assert host.get(port) == "SkyDRM router 8.1.1\n"
    third = unpack(release(product, engine, "8.1.2", "60", broken=("rms",)), host)
    started = time.monotonic()
    done = host.run(str(third / "upgrade.sh"), "--dir", str(place))
    said("broken", done)
    assert host.get(port) == "SkyDRM router 8.1.1\n"
    done = host.run(str(place / "upgrade.sh"), "--rollback")
    said("back", done)
    assert host.get(port) == "SkyDRM router 8.1.0\n"
    assert 0


def key_file(product, host):
    target = host.home / "promotion.pem.pub"
    shutil.copy(product.folder / "keys" / "promotion.pem.pub", target)
    return host.give(target)
