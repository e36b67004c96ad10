"""A customer's whole way on real parts: bundle, set-up, login, pull, run, upgrade, roll back, revoked."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import pyrage
import pytest
import requests

from jenkins_release.images import DockerEngine
from jenkins_release.records.setup_zip import write_zip
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.state import ACCOUNT, REGION, PolicyStatement
from jenkins_release.sandbox.process import find_program, free_port
from jenkins_release.sandbox.sample_images import SERVICES, build_images
from jenkins_release.sandbox.stack import Sandbox
from tests.bundle.test_shells import APPLETS, SHELLS, chosen_for
from tests.docs.pages import ROOT
from tests.fixtures.command import Outcome, fails
from tests.fixtures.customer import Host
from tests.fixtures.customers import keep_iam
from tests.fixtures.release import JUNIT, Product, make_product
from tests.fixtures.setup_zip import TARGET, setup_files
from tests.fixtures.story import Story

HERE = Path(__file__).parent
TEMPLATES = ROOT / "examples" / "skydrm" / "bundle"
LOG_IN = PolicyStatement(actions=["ecr:GetAuthorizationToken"])
OVERRIDE = """\
services:
  rms: &quick
    healthcheck: {interval: 500ms, timeout: 2s, retries: 3, start_period: 1s}
    labels: {com.acme.team: documents}
  viewer: *quick
  router: *quick
"""
"""A customer's own changes: the stack is well sooner, and one can see that they are kept."""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox, role_keys: Path) -> Iterator[Product]:
    """A product with SkyDRM's templates, whose customers are gone afterwards: an account has one boundary."""
    base = tmp_path_factory.mktemp("journey")
    put_back = keep_iam(sandbox.moto)
    with pytest.MonkeyPatch.context() as patch:
        made = make_product(base, sandbox, role_keys, patch, names=SERVICES)
        shutil.copytree(TEMPLATES, made.folder / "bundle")
        made.append(f'[bundle]\nlayer_host = "{sandbox.ecr.host}"\ndisk_gb = 1\nmemory_gb = 1\n')
        yield made
    put_back()


@pytest.fixture(scope="module")
def zipped(product: Product, engine: DockerEngine) -> Path:
    """The setup zip of 8.1.0."""
    promote(product, engine, "8.1.0/42")
    return bundle(product, "8.1.0")


def promote(product: Product, engine: DockerEngine, ident: str, broken: tuple[str, ...] = ()) -> None:
    """Build, export, sign off and promote a candidate."""
    version, build = ident.split("/")
    build_images(engine, version, build, broken=broken)
    product.ok("candidate", "export", "--version", version, "--build", build)
    results = product.folder / "junit.xml"
    results.write_text(JUNIT)
    words = ("--verdict", "pass", "--tester", "Quinn", "--results", str(results))
    product.ok("qa", "sign-off", ident, *words, "--digest", product.digest(ident))
    product.ok("promote", "run", ident)


def bundle(product: Product, version: str) -> Path:
    """Build the setup zip of a version."""
    out = product.folder / f"SkyDRM-setup-{version}.zip"
    product.ok("bundle", "build", version, "--out", str(out))
    return out


def download(product: Product, file: Path, customer: str) -> Path:
    """Publish a setup zip, bring it to the portal, and download it by the address made for a customer."""
    names = {"aws_access_key_id": "AWS_ACCESS_KEY_ID", "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY"}
    given = {name: product.environ[variable] for name, variable in names.items()}
    endpoint = product.environ["AWS_ENDPOINT_URL"]
    bucket = f"{product.prefix}-downloads"
    boto3.client("s3", region_name=REGION, endpoint_url=endpoint, **given).create_bucket(Bucket=bucket)
    product.append(f'[portal]\nkind = "s3"\nbucket = "{bucket}"\n')
    product.ok("release", "publish", "8.1.0/42", "--setup-zip", str(file))
    product.ok("release", "portal", "8.1.0")
    link = ("--link", file.name, "--customer", customer, "--expires", "7d")
    address = product.run("release", "portal", "8.1.0", *link).out.strip()
    target = product.folder / "downloads" / file.name
    target.parent.mkdir()
    answer = requests.get(address, timeout=30)
    answer.raise_for_status()
    assert file.name in answer.headers["Content-Disposition"]
    target.write_bytes(answer.content)
    return target


def unpack(file: Path, host: Host) -> Path:
    """Unpack a zip at the customer's, with the customer's own program."""
    shutil.copy(file, host.home)
    host.give(host.home / file.name)
    done = host.run("unzip", "-q", "-o", file.name)
    assert done.status == 0, done.text
    return host.home / file.stem


def promoted_digests(product: Product, version: str) -> dict[str, str]:
    """Return short name to manifest digest, as the registry has them."""
    return {name.rpartition("/")[2]: tags[version] for name, tags in product.tags().items()}


def digests(host: Host, place: Path) -> dict[str, str]:
    """Return service to the digest that its container was made from."""
    names = host.run("docker", "compose", "ps", "-a", "-q", cwd=place).out.split()
    form = '{{index .Config.Labels "com.docker.compose.service"}} {{.Config.Image}}'
    lines = host.run("docker", "inspect", "-f", form, *names).out.splitlines()
    return {service: image.partition("@")[2] for service, image in (line.split() for line in lines)}


def digest_in(unpacked: Path, name: str) -> str:
    """Return the digest that an unpacked setup zip pins an image to."""
    words = (unpacked / "release.env").read_text().partition("IMAGES='")[2].partition("'")[0].split()
    return next(word.partition("@")[2] for word in words if word.partition("@")[0].endswith(f"/{name}"))


def pull_from(product: Product) -> PolicyStatement:
    """What a customer may do, besides logging in."""
    repositories = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{product.prefix}/*"
    pull = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"]
    return PolicyStatement(actions=pull, resources=[repositories])


def answers_for(host: Host, port: int, key: str, secret: str) -> Path:
    """Write the answers that setup.sh needs, mode 0600."""
    answers = host.home / "answers.txt"
    answers.write_text(
        f"SKYDRM_HOST=skydrm.acme.example\nSKYDRM_BIND=127.0.0.1\nSKYDRM_PORT={port}\n"
        f"AWS_ACCESS_KEY_ID={key}\nAWS_SECRET_ACCESS_KEY={secret}\n"
    )
    answers.chmod(0o600)
    return host.give(answers)


def with_override(host: Host, place: Path) -> None:
    """Make a folder with nothing but the customer's own changes in it."""
    place.mkdir()
    (place / "docker-compose.override.yml").write_text(OVERRIDE)
    host.give(place)


def succeeds(done: Outcome, *said: str) -> None:
    """Check the status, and what was said."""
    assert done.status == 0, done.text
    for text in said:
        assert text in done.text


def test_from_the_portal_to_a_running_stack_and_back(
    product: Product, engine: DockerEngine, customer_host: Host, zipped: Path
):
    """Set-up without a question in an empty folder, by a user without rights, and everything after it."""
    host = customer_host
    again = product.folder / "again.zip"
    product.ok("bundle", "build", "8.1.0", "--out", str(again))
    assert zipped.read_bytes() == again.read_bytes()
    keys = product.folder / "keys"
    proof = product.ok("bundle", "verify", str(zipped), "--trusted-keys", str(keys))
    assert proof["candidate"] == "8.1.0/42"

    downloaded = download(product, zipped, "ACME")
    assert downloaded.read_bytes() == zipped.read_bytes()

    # Access is issued, and the key handed over in a file that only the customer opens.
    identity = pyrage.x25519.Identity.generate()
    way = ("--file", str(product.folder / "handover"), "--recipient", str(identity.to_public()))
    (product.folder / "handover").mkdir()
    issued = product.ok("customer", "issue", "ACME", "--ticket", "DEVOPS-123", *way)
    opened = json.loads(pyrage.decrypt(Path(issued["place"]).read_bytes(), [identity]))
    key, secret = opened["accessKeyId"], opened["secretAccessKey"]
    port = free_port()
    answers = answers_for(host, port, key, secret)
    place = host.home / "acme's sky drm"
    with_override(host, place)

    # From the portal to a running stack.
    first = unpack(downloaded, host)
    succeeds(host.run(str(first / "setup.sh"), "--dir", str(place), "--answers", str(answers), "--check"))
    assert not (place / ".env").exists()
    done = host.run(str(first / "setup.sh"), "--dir", str(place), "--answers", str(answers), "--start")
    succeeds(done, "logged in to", "SkyDRM 8.1.0 is up and healthy")
    assert secret not in done.text
    assert host.get(port) == "SkyDRM router 8.1.0\n"
    assert digests(host, place) == promoted_digests(product, "8.1.0")
    labels = host.run("docker", "inspect", "-f", "{{json .Config.Labels}}", "skydrm-rms-1").out
    assert '"com.acme.team":"documents"' in labels
    limits = host.run(
        "docker", "inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}", "skydrm-rms-1"
    )
    assert limits.out == f"{2 << 30} 1000000000\n"
    succeeds(host.run(str(place / "setup.sh")), "nothing to change")
    shutil.copy(keys / "promotion.pem.pub", host.home)
    host.give(host.home / "promotion.pem.pub")
    key_file = str(host.home / "promotion.pem.pub")
    succeeds(host.run(str(place / "verify.sh"), "--images", "--key", key_file), "8.1.0: proven")

    # A token that has expired is renewed.
    product.sandbox.ecr.order(Fault(expire_tokens=True))
    promote(product, engine, "8.1.1/50")
    promote(product, engine, "8.1.2/60", broken=("rms",))
    second, third = (unpack(bundle(product, version), host) for version in ("8.1.1", "8.1.2"))
    succeeds(host.run(str(second / "upgrade.sh"), "--dir", str(place)), "SkyDRM 8.1.1 is up and healthy")
    assert host.get(port) == "SkyDRM router 8.1.1\n"

    # A broken release goes back to the one before, by its digests.
    fails(
        host.run(str(third / "upgrade.sh"), "--dir", str(place)),
        1,
        "8.1.2 does not become healthy",
        "8.1.1 runs",
    )
    assert host.get(port) == "SkyDRM router 8.1.1\n"
    assert digests(host, place) == promoted_digests(product, "8.1.1")
    assert (place / "docker-compose.override.yml").read_text() == OVERRIDE

    # Withdrawn after the zip was downloaded: neither installed nor upgraded to, and what runs goes on.
    product.ok("release", "withdraw", "8.1.2", "--reason", "does not start")
    running = host.run("docker", "ps", "-q", "--no-trunc").out
    pinned = f"{host.ecr}/{product.prefix}/rms@{digest_in(third, 'rms')}"
    succeeds(host.run("docker", "pull", "-q", pinned))
    for words in (("upgrade.sh",), ("setup.sh", "--start"), ("setup.sh", "--check")):
        folder = place if words[0] == "upgrade.sh" else host.home / "elsewhere"
        given = [*words[1:], "--dir", str(folder)]
        given += ["--answers", str(answers)] if words[0] == "setup.sh" else []
        done = host.run(str(third / words[0]), *given)
        assert done.status == 3, done.text
        assert "SkyDRM 8.1.2 was withdrawn: the release tag" in done.text
    assert not (host.home / "elsewhere").exists()
    assert host.run("docker", "ps", "-q", "--no-trunc").out == running
    succeeds(host.run(str(place / "verify.sh"), "--key", key_file), "8.1.1: proven")

    # Access is revoked: what runs goes on, nothing is pulled any more, and the customer can see why.
    image = f"{host.ecr}/{product.prefix}/rms@{promoted_digests(product, '8.1.0')['rms']}"
    succeeds(host.run("docker", "pull", "-q", image))
    revoked = product.ok("customer", "revoke", "ACME", "--reason", "contract ended")
    assert revoked["proof"]
    refused = host.run("docker", "pull", "-q", f"{host.ecr}/{product.prefix}/rms:8.1.0")
    assert refused.status != 0
    assert "not authorized" in refused.text or "denied" in refused.text.lower()
    fails(host.run(str(place / "setup.sh"), "--check"), 1, "it was switched off")
    fails(host.run(str(place / "ecr-login.sh")), 1, "it was switched off")
    assert host.get(port) == "SkyDRM router 8.1.1\n"
    succeeds(host.run("docker", "compose", "down", "-v", cwd=place))


def test_debians_compose_does_it_too(product: Product, customer_host: Host, zipped: Path):
    """The command docker-compose, of version 1 in Debian 12: set-up, upgrade, start."""
    host = customer_host
    plugin = host.home / ".docker" / "cli-plugins" / "docker-compose"
    plugin.rename(plugin.with_suffix(".off"))
    try:
        key, secret = product.sandbox.ecr.add_user("skydrm/customers/old", [LOG_IN, pull_from(product)])
        port = free_port()
        place = host.home / "old"
        with_override(host, place)
        first = unpack(zipped, host)
        answers = answers_for(host, port, key, secret)
        succeeds(host.run(str(first / "setup.sh"), "--dir", str(place), "--answers", str(answers)))
        second = unpack(product.folder / "SkyDRM-setup-8.1.1.zip", host)
        done = host.run(str(second / "upgrade.sh"), "--dir", str(place))
        succeeds(done, "SkyDRM 8.1.1 is up and healthy")
        assert host.get(port) == "SkyDRM router 8.1.1\n"
        succeeds(host.run("docker-compose", "down", "-v", cwd=place))
    finally:
        plugin.with_suffix(".off").rename(plugin)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_login_keeps_its_promises(shell: str, sandbox: Sandbox, customer_host: Host):
    """ecr-login.bats, against an ECR that checks signatures, in each shell; every third test in bash."""
    host = customer_host
    key, secret = sandbox.ecr.add_user("skydrm/customers/login", [LOG_IN])
    off, off_secret = sandbox.ecr.add_user("skydrm/customers/off", [LOG_IN])
    sandbox.ecr.set_key_active(off, active=False)
    poor, poor_secret = sandbox.ecr.add_user("skydrm/customers/poor", [])
    target = replace(TARGET, region=REGION, layer_host=host.ecr)
    made, members = setup_files(Story(registry=host.ecr).built().tested().promoted().summary(), target=target)
    folder = host.home / "login" / shell.replace(" ", "-")
    folder.mkdir(parents=True)
    (folder / "setup.zip").write_bytes(write_zip(made.folder, members, made.promoted_at))
    subprocess.run(["unzip", "-q", "setup.zip"], cwd=folder, check=True)
    for each in ("ecr-login.bats", "helper.bash"):
        shutil.copy(HERE / each, folder)
    users = f"KEY={key} SECRET={secret} OFF_KEY={off} OFF_SECRET={off_secret} POOR_KEY={poor}"
    words = f"{users} POOR_SECRET={poor_secret} TOKEN={token(sandbox, key, secret)}".split()
    environ = dict(word.split("=", 1) for word in words)
    environ |= {"UNDER": shell, "BUNDLE": str(folder / made.folder), "TMPDIR": str(folder)}
    if shell.startswith("busybox"):
        tools = folder / "busybox"
        tools.mkdir()
        for name in APPLETS.split():
            (tools / name).symlink_to(find_program("busybox", "busybox-static"))
        environ["PATH"] = f"{tools}:{host.environ['PATH']}"
    host.give(host.home / "login")
    options = chosen_for(shell, HERE / "ecr-login.bats")
    done = host.run("bats", "--tap", *options, str(folder / "ecr-login.bats"), cwd=folder, environ=environ)
    assert done.status == 0, done.text
    assert not done.out.startswith("1..0"), done.out
    assert "# skip" not in done.out


def token(sandbox: Sandbox, key: str, secret: str) -> str:
    """Mint a registry token as an SDK does."""
    given = {"aws_access_key_id": key, "aws_secret_access_key": secret}
    client = boto3.client("ecr", region_name=REGION, endpoint_url=sandbox.ecr.endpoint, **given)
    answer = client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    return base64.b64decode(answer).decode().partition(":")[2]
