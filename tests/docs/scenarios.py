"""Where the marked blocks of a page run: a folder, an environment, and what is there before."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jenkins_release.sandbox.ecr.state import ACCOUNT, REGION, PolicyStatement
from jenkins_release.sandbox.sample_layout import write_layout
from jenkins_release.sandbox.stack import Sandbox
from jenkins_release.steps.context.trust_root import PIN_VARIABLE
from tests.docs.pages import ROOT, marked
from tests.fixtures.release import JUNIT, Product
from tests.fixtures.sbom import syft_spdx, to_bytes
from tests.fixtures.trust import Ceremony

_BREAK = "@@ next block @@"
_TIMEOUT_S = 240
_MEASURED = re.compile(r"\b\d+(?:\.\d)? (?:[kMGT]?B(?:/s)?|s)(?!\w)")
_AWS = """\
#!{python}
# Stands in for the AWS command line, which is no Python package that installs beside boto3.
import base64, sys, boto3
assert sys.argv[1:] == ["ecr", "get-login-password", "--region", "eu-central-1"], sys.argv
answer = boto3.client("ecr").get_authorization_token()
token = answer["authorizationData"][0]["authorizationToken"]
print(base64.b64decode(token).decode().partition(":")[2])
"""


@dataclass(frozen=True)
class Place:
    """A folder to run in, and the environment."""

    folder: Path
    environ: Mapping[str, str] = field(repr=False)


def run(page: Path, mark: str, place: Place, programs: Path | None = None) -> None:
    """Run the blocks of a page with a mark in one shell, in order, and compare what they print.

    Programs of the folder ``programs`` are found before others.

    ``sh`` and ``python`` blocks run, a ``toml`` block becomes ``release.toml``, and a ``text`` block
    lists lines that the block before it prints, in their order, with ``...`` for anything.
    """
    script: list[str] = []
    expected: list[list[str]] = []
    for number, fence in enumerate(marked(page, mark)):
        match fence.language:
            case "sh":
                script += [fence.text, f"echo '{_BREAK}'"]
                expected.append([])
            case "python":
                (place.folder / f"block{number}.py").write_text(fence.text)
                script += [f"python block{number}.py", f"echo '{_BREAK}'"]
                expected.append([])
            case "toml":
                (place.folder / "release.toml").write_text(fence.text)
            case "text":
                expected[-1] += fence.text.splitlines()
            case other:
                raise AssertionError(f"a block in {other!r} cannot be run")
    assert expected, f"{page} has no block to run with the mark {mark}"
    path = place.environ["PATH"] if programs is None else f"{programs}:{place.environ['PATH']}"
    file = place.folder / "blocks.sh"
    file.write_text("\n".join(script))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", str(file)],
        cwd=place.folder,
        env={**place.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"status {done.returncode} of\n{file.read_text()}\n{done.stdout}"
    for lines, output in zip(expected, done.stdout.split(f"{_BREAK}\n"), strict=False):
        compare(lines, output)


def compare(expected: list[str], output: str) -> None:
    """Check that the expected lines are there, in their order.

    How far apart words stand does not matter, nor do sizes, times and rates.
    """
    printed = map(_plain, output.splitlines())
    for line in filter(None, map(_plain, expected)):
        pattern = re.compile(".*".join(re.escape(part) for part in line.split("...")))
        assert any(pattern.fullmatch(found) for found in printed), f"{line!r} is not printed in\n{output}"


def _plain(line: str) -> str:
    return _MEASURED.sub("(measured)", " ".join(line.split()))


def policy(mark: str, repositories: str) -> list[PolicyStatement]:
    """Return a policy of docs/devops.md as the sandbox takes it, for the given repositories."""
    documented = "arn:aws:ecr:eu-central-1:123456789012:repository/skydrm/"
    here = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{repositories}"
    return statements("devops.md", mark, {f"{documented}{name}": here for name in ("*", "rms", "viewer")})


def statements(page: str, mark: str, places: Mapping[str, str]) -> list[PolicyStatement]:
    """Return a policy of a page as the sandbox takes it.

    Args:
        page: File name in ``docs``.
        mark: The block's mark.
        places: Documented resource to the one that stands for it here.
    """
    document: dict[str, Any] = json.loads(marked(ROOT / "docs" / page, mark)[0].text)
    found = []
    for each in document["Statement"]:
        resources = each["Resource"] if isinstance(each["Resource"], list) else [each["Resource"]]
        assert set(resources) <= {"*", *places}, resources
        actions = each["Action"] if isinstance(each["Action"], list) else [each["Action"]]
        here = [places.get(resource, resource) for resource in resources]
        found.append(PolicyStatement(effect=each["Effect"], actions=actions, resources=here))
    return found


def program() -> dict[str, str]:
    """Return what leads a shell to this checkout's program, whatever else is installed."""
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    return {"PATH": path, "PYTHONPATH": str(ROOT)}


def bare(folder: Path) -> Place:
    """Nothing but a home; no Docker daemon is found, whatever the machine has."""
    environ = {"HOME": str(folder), "DOCKER_HOST": f"unix://{folder}/none.sock", "LANG": "C"}
    return Place(folder, environ | program())


def _as_user(sandbox: Sandbox, user: str, statements: list[PolicyStatement]) -> dict[str, str]:
    key, secret = sandbox.ecr.add_user(user, statements)
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}


def first_use(folder: Path, sandbox: Sandbox) -> Place:
    """The sandbox's servers in place of a customer's, and the documented rights in ECR and no more."""
    environ = sandbox.environment()
    secrets = folder / "secrets"
    secrets.mkdir()
    (secrets / "smb-password").write_text(environ.pop("JENKINS_RELEASE_SMB_PASSWORD") + "\n")
    (secrets / "key-passphrase").write_text(environ.pop("JENKINS_RELEASE_KEY_PASSPHRASE") + "\n")
    del environ["JENKINS_RELEASE_CONFIG"], environ["JENKINS_RELEASE_SMB_USER"]
    share = sandbox.share_folder / "first-use"
    share.mkdir()
    (folder / "junit.xml").write_text(JUNIT)
    given = {
        **program(),
        "HOME": str(folder),
        "JENKINS_RELEASE_SHARE_RELEASE_CANDIDATE": f"{sandbox.share_location}/first-use",
        "JENKINS_RELEASE_ECR_REGION": REGION,
        "JENKINS_RELEASE_ECR_ACCOUNT": ACCOUNT,
    }
    promoter = _as_user(sandbox, "jenkins-promoter", policy("promoter-policy", "skydrm/*"))
    return Place(folder, environ | promoter | given)


def of_product(product: Product) -> Place:
    """The product's own folder with the default policy."""
    product.edit("[policy]\napprovals = 0\n", "")
    return Place(product.folder, product.environ | program())


def of_candidate(product: Product) -> Place:
    """The same with a candidate, whose folder on the share is known."""
    place = of_product(product)
    return Place(place.folder, {**place.environ, "CANDIDATE": str(product.candidate())})


def trusted(product: Product) -> Place:
    """8.1.0/42 is promoted under a trust document, whose root the vendor's machine pins."""
    place = of_candidate(product)
    pin = Ceremony(product, product.folder / "root").begin()
    plan = str(product.folder / "plan.json")
    product.ok("promote", "plan", "8.1.0/42", "--out", plan)
    product.ok("promote", "approve", plan, "--approver", "Alex Baker", "--reason", "8.1.0 goes out")
    product.ok("promote", "run", "8.1.0/42")
    return Place(place.folder, {**place.environ, PIN_VARIABLE: pin, "TRUST_ROOT": pin})


def installers(product: Product) -> Place:
    """A build left installers behind; share and release area are empty folders."""
    (product.folder / "out").mkdir()
    (product.folder / "out" / "SkyDRM-8.1.0.msi").write_bytes(b"msi" + bytes(1000))
    (product.folder / "out" / "skydrm-8.1.0-42.x86_64.rpm").write_bytes(b"signed-by-nextlabs" + bytes(1000))
    places = {"RELEASE_CANDIDATE": product.folder / "candidates", "RELEASES": product.folder / "releases"}
    for place in places.values():
        place.mkdir()
    own = {f"JENKINS_RELEASE_SHARE_{name}": str(place) for name, place in places.items()}
    found = of_product(product)
    return Place(found.folder, {**found.environ, **own, "RELEASES": str(places["RELEASES"])})


def portal(product: Product) -> Place:
    """8.1.0 is published; the bucket is there and empty."""
    import boto3

    place = installers(product)
    own = Product(
        product.folder,
        "",
        product.folder / "candidates",
        product.releases,
        dict(place.environ),
        product.sandbox,
    )
    page = ROOT / "docs" / "portal.md"
    config = next(fence.text for fence in marked(page, "portal") if fence.language == "toml")
    own.config.write_text(config)
    own.ok("candidate", "export", "--version", "8.1.0", "--build", "42", "--from", str(own.folder))
    own.sign_off()
    own.ok("release", "publish", "8.1.0/42")
    (own.folder / "docs" / "notes").mkdir(parents=True)
    (own.folder / "docs" / "notes" / "8.1.0.md").write_text("# What is new\n")
    (own.folder / "docs" / "setup.md").write_text("Run the installer.\n")
    (own.folder / "docs" / "upgrade").mkdir()
    (own.folder / "docs" / "upgrade" / "8.1.0.md").write_text("Save your data.\n")
    (own.folder / "docs" / "logo.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>\n')
    region = re.findall(r'^region = "(.*)"', config, re.MULTILINE)[0]
    bucket = re.findall(r'^bucket = "(.*)"', config, re.MULTILINE)[0]
    s3 = boto3.client("s3", region_name=region, endpoint_url=place.environ["AWS_ENDPOINT_URL"])
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
    return place


def platforms(product: Product) -> Place:
    """The build wrote an image for several platforms, as the page configures it."""
    page = ROOT / "docs" / "platforms.md"
    config = marked(page, "platforms-settings")[0].text
    product.keep_images(1)
    archive, names = (
        re.findall(rf"^{name} = (.*)$", config, re.MULTILINE)[0] for name in ("archive", "platforms")
    )
    file = product.folder / json.loads(archive)
    file.parent.mkdir()
    write_layout(file, "rms", "8.1.0", "42", platforms=json.loads(names))
    product.edit('name = "rms"\n', f'name = "rms"\narchive = {archive}\nplatforms = {names}\n')
    return of_product(product)


def ledger(product: Product) -> Place:
    """8.1.0/42 is signed off by QA, and no ledger is configured."""
    place = of_candidate(product)
    return Place(place.folder, {**place.environ, "SHARE_FOLDER": str(product.share)})


def compared(product: Product) -> Place:
    """8.1.0/42 and 43 are exported, with an SBOM of one image."""
    place = of_product(product)
    kept = "pkg:npm/ms@2.0.0"
    packages = {
        "42": ["pkg:deb/debian/libssl3@3.0.15-1", "pkg:npm/left-pad@1.3.0", kept],
        "43": ["pkg:deb/debian/libssl3@3.0.16-1", "pkg:deb/debian/zlib1g@1:1.3.1", kept],
    }
    product.edit('name = "rms"\n', 'name = "rms"\nsbom = ["rms.json"]\n')
    for build, purls in packages.items():
        document = syft_spdx(tag=f"8.1.0-{build}", packages=purls)
        (product.folder / "rms.json").write_bytes(to_bytes(document))
        product.export(build)
    return place


def promoted(product: Product) -> Place:
    """8.1.0/42 is exported, signed off, approved and promoted."""
    place = of_candidate(product)
    plan = str(product.folder / "plan.json")
    product.ok("promote", "plan", "8.1.0/42", "--out", plan)
    product.ok("promote", "approve", plan, "--approver", "Alex Baker", "--reason", "8.1.0 goes out")
    product.ok("promote", "run", "8.1.0/42")
    return place


def customer(product: Product) -> Place:
    """8.1.0/42 is promoted, bundle and keys are handed over; rights and machine are a customer's."""
    product.config.write_text(product.config.read_text().replace(f'"{product.prefix}/', '"skydrm/'))
    promoted(product)
    home = product.folder.parent / "customer"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "aws").write_text(_AWS.format(python=sys.executable))
    (home / "bin" / "aws").chmod(0o755)
    (home / "keys").mkdir()
    for role in ("qa", "promotion", "approval", "build"):
        shutil.copy(product.folder / "keys" / f"{role}.pem.pub", home / "keys")
    product.ok("release", "attestations", "8.1.0", "--out", str(home / "SkyDRM-8.1.0.jsonl"))
    report = product.ok("promote", "run", "8.1.0/42")
    rms = next(image for image in report["images"] if image["name"] == "rms")
    kept = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_ECR", "AWS_DEFAULT_REGION", "DOCKER_HOST")
    environ = {name: product.environ[name] for name in kept}
    environ |= _as_user(product.sandbox, "customers/acme", policy("customer-policy", "skydrm/*"))
    environ |= program()
    environ |= {
        "PATH": f"{home / 'bin'}{os.pathsep}{environ['PATH']}",
        "HOME": str(home),
        "REGISTRY": product.sandbox.ecr.host,
        "DIGEST": rms["digest"],
        "CONFIG_DIGEST": rms["configDigest"],
    }
    return Place(home, environ)


def saas(product: Product) -> Place:
    """8.1.0/42 is promoted, and a stack runs something else."""
    place = promoted(product)
    product.append(product.sandbox.add_saas(("rms", "viewer"), cluster=product.prefix))
    return place


def bundle(product: Product) -> Place:
    """8.1.0/42 is promoted, and the product has SkyDRM's templates."""
    place = promoted(product)
    shutil.copytree(ROOT / "examples" / "skydrm" / "bundle", product.folder / "bundle")
    return place


def bundle_customer(product: Product) -> Place:
    """A customer has the setup zip and the vendor's public key."""
    bundle(product)
    home = product.folder.parent / "customer"
    home.mkdir()
    product.ok("bundle", "build", "8.1.0", "--out", str(home / "SkyDRM-setup-8.1.0.zip"))
    shutil.copy(product.folder / "keys" / "promotion.pem.pub", home)
    return bare(home)


OF_A_PRODUCT: dict[str, tuple[str, Callable[[Product], Place]]] = {
    "product": ("product", of_product),
    "candidate": ("exported", of_candidate),
    "signed": ("validated", of_candidate),
    "installers": ("product", installers),
    "trust": ("validated", of_candidate),
    "trusted": ("validated", trusted),
    "portal": ("product", portal),
    "platforms": ("product", platforms),
    "ledger": ("validated", ledger),
    "compared": ("product", compared),
    "promoted": ("validated", promoted),
    "customer": ("validated", customer),
    "saas": ("validated", saas),
    "bundle": ("validated", bundle),
    "bundle-customer": ("validated", bundle_customer),
}
"""The fixture that a scenario begins with, and what happens then."""
