"""The demo: one whole release on real servers, shown command by command."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import docker
from docker.errors import DockerException
from pydantic import SecretStr

from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.images import DockerEngine
from jenkins_release.records.candidate import Candidate, config_digests
from jenkins_release.sandbox.demo.outsider import MODULES, Outsider, basic_login
from jenkins_release.sandbox.demo.teller import Teller
from jenkins_release.sandbox.ecr.state import ACCOUNT, REGION, PolicyStatement
from jenkins_release.sandbox.product import write_product
from jenkins_release.sandbox.remains import removed_in_any_case
from jenkins_release.sandbox.sample_layout import PLATFORMS, write_layout
from jenkins_release.sandbox.stack import Sandbox, ended_after

VERSION, BUILD = "8.1.0", "42"
BASE_SIZE, OWN_SIZE = 40_000_000, 4_000_000
_REF = f"{VERSION}/{BUILD}"
_BUCKET = "skydrm-downloads"
_JUNIT = """\
<testsuites>
  <testsuite name="smoke">
    <testcase classname="smoke.Login" name="user_logs_in"/>
    <testcase classname="smoke.Viewer" name="protected_file_opens"/>
    <testcase classname="smoke.Router" name="tenant_is_routed"/>
  </testsuite>
</testsuites>
"""


def run_demo(
    say: Callable[[str], None], folder: Path | None, *, environ: Mapping[str, str], in_domain: bool = False
) -> int:
    """Run the whole release and explain it.

    Args:
        say: Takes each line.
        folder: Where the sandbox is kept; a temporary folder, which is removed, if None.
        environ: The environment.
        in_domain: Whether the share is that of a domain, in whose network this process is.

    Returns:
        The number of steps that ran.

    Raises:
        ReleaseError: Something failed; everything is stopped first.
    """
    # In a domain, it is the way to the share that is shown.
    base = BASE_SIZE // 20 if in_domain else BASE_SIZE
    if folder is not None:
        stack = Sandbox(folder, environ=environ, in_domain=in_domain)
        with ended_after(stack.stop):
            return _start(say, stack, environ, base)
    with removed_in_any_case("jenkins-release-demo-", environ) as temporary:
        stack = Sandbox(temporary / "sandbox", environ=environ, in_domain=in_domain)
        with ended_after(stack.remove):
            return _start(say, stack, environ, base)


def _start(say: Callable[[str], None], stack: Sandbox, environ: Mapping[str, str], base_size: int) -> int:
    stack.start(tied=True)
    return _Demo(say, stack, environ, base_size).run()


class _Demo:
    def __init__(
        self, say: Callable[[str], None], stack: Sandbox, environ: Mapping[str, str], base_size: int
    ) -> None:
        self._base_size = base_size
        self._say = say
        self._stack = stack
        self._product = stack.folder / "product"
        self._candidate = stack.share_folder / "SkyDRM" / VERSION / BUILD
        self._environ = environ
        given = {**environ, **stack.environment(), "BUILD_USER_ID": "riley"}
        self._tell = Teller(say, given, self._product)

    def run(self) -> int:
        stack = self._stack
        passphrase = SecretStr(stack.environment()["JENKINS_RELEASE_KEY_PASSPHRASE"])
        where = (self._product, stack.share_location, passphrase)
        write_product(*where, releases=stack.release_location, user="riley")
        self._build_installers()
        self._build_for_platforms()
        self._open_customer_side()
        (self._product / "junit.xml").write_text(_JUNIT)
        images = self._stack.add_images(VERSION, BUILD, base_size=self._base_size, own_size=OWN_SIZE)
        self._say(
            f"SkyDRM {VERSION}, build {BUILD}: {len(images)} images, one for two platforms; real servers:\n"
            f"share {stack.share_location}, registry {stack.ecr.host}.  Digests are shortened here."
        )
        with DockerEngine(stack.docker_host) as engine:
            try:
                self._release(images, engine)
                self._attach()
                self._customer(engine)
                self._publish()
                self._refresh()
            finally:
                for image in images:
                    engine.untag(image)
        return self._tell.steps

    def _build_installers(self) -> None:
        """Write installers to the build's output, and configure them."""
        output = self._product / "out"
        output.mkdir(exist_ok=True)
        for name in (f"SkyDRM-{VERSION}.msi", f"skydrm-{VERSION}-{BUILD}.x86_64.rpm"):
            (output / name).write_bytes(random.Random(name).randbytes(5_000_000))  # noqa: S311 - not a secret
        with (self._product / "release.toml").open("a", encoding="utf-8") as file:
            file.write('\n[[installers]]\nfiles = "out/*-{version}*"\n')

    def _build_for_platforms(self) -> None:
        """Write one image for several platforms to the build's output, as BuildKit does, and configure it."""
        write_layout(self._product / "out" / "viewer.oci.tar", "viewer", VERSION, BUILD, own_size=OWN_SIZE)
        config = self._product / "release.toml"
        name = 'name = "viewer"\n'
        several = f'archive = "out/viewer.oci.tar"\nplatforms = {json.dumps(PLATFORMS)}\n'
        config.write_text(config.read_text().replace(name, name + several))

    def _open_customer_side(self) -> None:
        """Create a bucket for downloads, and ECS services that run something else."""
        environ = self._stack.environment()
        client = boto3.client(
            "s3",
            region_name=REGION,
            endpoint_url=environ["AWS_ENDPOINT_URL"],
            aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket=_BUCKET)
        with (self._product / "release.toml").open("a", encoding="utf-8") as file:
            file.write(f'\n[portal]\nkind = "s3"\nbucket = "{_BUCKET}"\n')
            file.write(self._stack.add_saas(["rms", "viewer"]))

    def _release(self, images: Sequence[str], engine: DockerEngine) -> None:
        tell = self._tell
        tell.title("Jenkins exports the candidate, images and installers, as one stream to the share")
        named = r"exported|rms|viewer|\.msi|MB/s|^candidate.json"
        tell.command("candidate", "export", "--version", VERSION, "--build", BUILD, only=named)
        for image in images:
            engine.untag(image)
        tell.title("No one has signed off: the gate is shut")
        tell.command("promote", "run", _REF, status=3, only="error|found 0|exit status")
        tell.title("QA loads it, checked on the way (by hand works too), and signs off")
        tell.command("candidate", "load", _REF, lines=slice(0, 1))
        tell.shell(["sha256sum", "-c", "SHA256SUMS"], self._candidate, lines=slice(0, 2))
        for image in images:
            engine.untag(image)
        results = str(self._product / "junit.xml")
        tested = ("--results", results)
        tell.command("qa", "sign-off", _REF, "--verdict", "pass", *tested, lines=slice(0, 1))
        tell.title(
            "Riley signs the request for the release; Alex, another person, approves exactly this plan"
        )
        tell.command(
            "promote", "plan", _REF, "--out", "plan.json", only="to push|to publish|found 0|requests"
        )
        consent = ("--reason", "8.1.0 goes out")
        tell.command("promote", "approve", "plan.json", *consent, only="approved|gate")
        tell.title("Container: now it can be promoted; running it again finds nothing to do")
        tell.command("promote", "run", _REF, only="promoted|skydrm/(rms|viewer)|proven|recorded")
        tell.command("promote", "run", _REF, lines=slice(0, 1))

    def _attach(self) -> None:
        """Attach statements, and let a program verify them that knows nothing of this one."""
        self._tell.title("For other tools: statements beside the images in the registry")
        self._tell.command("release", "attach", VERSION, only="^attached")
        modules = self._environ.get(MODULES)
        if not modules:
            return
        environ = self._stack.environment()
        client = self._ecr(environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"])
        told = client.get_authorization_token()["authorizationData"][0]
        outsider = Outsider(modules, told["proxyEndpoint"], basic_login(told["authorizationToken"]))
        image = self._record().images[1]
        key = self._product / "keys" / "promotion.pem.pub"
        kinds = outsider.verified("skydrm/viewer", image.identity, key)
        self._tell.line(
            f"Sigstore's own verifier, given skydrm/viewer and the public key, accepts: {', '.join(kinds)}"
        )
        self._tell.steps += 1

    def _record(self) -> Candidate:
        return Candidate.from_bytes((self._candidate / "candidate.json").read_bytes(), "candidate.json")

    def _ecr(self, key: str, secret: str) -> Any:
        return boto3.client(
            "ecr",
            region_name=REGION,
            endpoint_url=self._stack.ecr.endpoint,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    def _customer(self, engine: DockerEngine) -> None:
        """Pull as a customer: a principal that may only pull, on an empty daemon."""
        record = self._record()
        self._tell.title(
            "A customer pulls with a pull-only key: the images are what QA validated, and they run"
        )
        statements = [
            PolicyStatement(actions=["ecr:GetAuthorizationToken"], resources=["*"]),
            PolicyStatement(
                actions=[
                    "ecr:BatchGetImage",
                    "ecr:GetDownloadUrlForLayer",
                    "ecr:BatchCheckLayerAvailability",
                ],
                resources=[f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/skydrm/*"],
            ),
        ]
        key, secret = self._stack.ecr.add_user("customers/acme", statements)
        answer = self._ecr(key, secret).get_authorization_token()["authorizationData"][0]
        user, token = basic_login(answer["authorizationToken"])
        daemon = docker.DockerClient(base_url=self._stack.docker_host)
        try:
            for image in record.images:
                reference = f"{self._stack.ecr.host}/skydrm/{image.name}:{VERSION}"
                daemon.images.pull(reference, auth_config={"username": user, "password": token})
                found = engine.config_digest(reference)
                if found not in (expected := {*config_digests(image).values()}):
                    raise IntegrityError(f"{reference}: expected {' or '.join(expected)}, found {found}")
                line = daemon.containers.run(reference, network_mode="none", remove=True).decode().strip()
                self._tell.line(f"pulled {reference}: config {found}; it says: {line}")
                engine.untag(reference)
                self._tell.steps += 1
        except DockerException as error:
            raise RemoteError(f"the customer's pull failed: {error}") from error
        finally:
            daemon.close()

    def _publish(self) -> None:
        self._tell.title(
            "8.X: the installers go to the release area, where they are read back, and to the portal"
        )
        self._tell.command("release", "publish", _REF, only="published|msi|proven|copied|recorded")
        self._tell.command("release", "portal", VERSION, only="^uploaded|page: |recorded")
        self._tell.command("release", "list")

    def _refresh(self) -> None:
        self._tell.title("SaaS: the stack gets the promoted digests, passes its health checks, and runs them")
        self._tell.command("saas", "refresh", VERSION, only="refreshed|healthy|recorded")
        self._tell.command("saas", "status", only=r"^(rehearsal|part|rms|viewer) ")
