"""The demo: one whole release on real servers, told command by command."""

from __future__ import annotations

import base64
import random
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import boto3
import docker
from docker.errors import DockerException
from pydantic import SecretStr

from jenkins_release.errors import IntegrityError, RemoteError
from jenkins_release.images import DockerEngine
from jenkins_release.records.candidate import Candidate
from jenkins_release.sandbox.demo_images import build_images
from jenkins_release.sandbox.ecr_state import ACCOUNT, REGION, Statement
from jenkins_release.sandbox.product import write_product
from jenkins_release.sandbox.stack import Sandbox

VERSION, BUILD = "8.1.0", "42"
BASE_SIZE, OWN_SIZE = 40_000_000, 4_000_000
_REF = f"{VERSION}/{BUILD}"
_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")
_WIDE = re.compile(r"(?<= ) {52}")
_JUNIT = """\
<testsuites>
  <testsuite name="smoke">
    <testcase classname="smoke.Login" name="user_logs_in"/>
    <testcase classname="smoke.Viewer" name="protected_file_opens"/>
    <testcase classname="smoke.Router" name="tenant_is_routed"/>
  </testsuite>
</testsuites>
"""


def run_demo(say: Callable[[str], None], folder: Path | None, *, environ: Mapping[str, str]) -> int:
    """Run the whole release and tell about it.

    Args:
        say: Takes each line.
        folder: Where the sandbox stands and stays; a temporary folder, removed, when None.
        environ: The environment.

    Returns:
        The number of steps that ran.

    Raises:
        ReleaseError: Something did not end as it should; everything is stopped before.
    """
    with tempfile.TemporaryDirectory(prefix="jenkins-release-demo-") as temporary:
        stack = Sandbox(folder or Path(temporary) / "sandbox", environ=environ)
        try:
            stack.start(tied=True)
            return _Demo(say, stack, environ).run()
        finally:
            if folder is None:
                stack.remove()
            else:
                stack.stop()


class _Demo:
    def __init__(self, say: Callable[[str], None], stack: Sandbox, environ: Mapping[str, str]) -> None:
        self._say = say
        self._stack = stack
        self._environ = {**environ, **stack.environment(), "BUILD_USER_ID": "jenkins"}
        self._steps = 0
        self._product = stack.folder / "product"
        self._candidate = stack.share_folder / "SkyDRM" / VERSION / BUILD

    def run(self) -> int:
        stack = self._stack
        passphrase = SecretStr(stack.environment()["JENKINS_RELEASE_KEY_PASSPHRASE"])
        write_product(self._product, stack.share_location, passphrase, releases=stack.release_location)
        self._build_installers()
        (self._product / "junit.xml").write_text(_JUNIT)
        engine = DockerEngine(stack.docker_host)
        images = build_images(engine, VERSION, BUILD, base_size=BASE_SIZE, own_size=OWN_SIZE)
        self._say(
            f"SkyDRM {VERSION}, build {BUILD}: {len(images)} images on one base, real servers on loopback:\n"
            f"share {stack.share_location}, registry {stack.ecr.host}.  Digests are shortened here."
        )
        try:
            self._release(images, engine)
            self._customer()
            self._publish()
        finally:
            for image in images:
                engine.untag(image)
        return self._steps

    def _build_installers(self) -> None:
        """Leave installers in the build's output, and have the configuration name them."""
        output = self._product / "out"
        output.mkdir(exist_ok=True)
        for name in (f"SkyDRM-{VERSION}.msi", f"skydrm-{VERSION}-{BUILD}.x86_64.rpm"):
            (output / name).write_bytes(random.Random(name).randbytes(5_000_000))  # noqa: S311 - no secret
        with (self._product / "release.toml").open("a", encoding="utf-8") as file:
            file.write('\n[[installers]]\nfiles = "out/*-{version}*"\n')

    def _release(self, images: Sequence[str], engine: DockerEngine) -> None:
        self._title("Jenkins exports the candidate: one docker save stream to the share")
        self._command("candidate", "export", "--version", VERSION, "--build", BUILD)
        for image in images:
            engine.untag(image)
        self._title("Nobody has signed off: the gate is shut")
        self._command("promote", "run", _REF, status=3)
        self._title("QA loads it, checked on the way; by hand works too")
        self._command("candidate", "load", _REF, lines=slice(0, 1))
        self._shell(["sha256sum", "-c", "SHA256SUMS"])
        self._shell(["docker", "load", "-i", f"images/skydrm-{VERSION}-{BUILD}.tar"], lines=slice(-1, None))
        for image in images:
            engine.untag(image)
        self._title("QA signs off")
        results = str(self._product / "junit.xml")
        tested = ("--tester", "Quinn Adams", "--results", results)
        self._command("qa", "sign-off", _REF, "--verdict", "pass", *tested)
        self._title("Jenkins plans for the release manager; another person approves exactly this plan")
        self._command("promote", "plan", _REF, "--out", "plan.json", lines=slice(3, -1))
        consent = ("--approver", "Alex Baker", "--reason", "8.1.0 goes out")
        self._command("promote", "approve", "plan.json", *consent)
        self._title("Now it may be promoted")
        self._command("promote", "run", _REF)
        self._command("promote", "run", _REF, lines=slice(0, 1))
        self._command("promote", "status", _REF, lines=slice(0, 1))

    def _customer(self) -> None:
        """Pull as a customer: a principal that may pull and nothing else, on an empty daemon."""
        record = Candidate.from_bytes((self._candidate / "candidate.json").read_bytes(), "candidate.json")
        self._title(
            "A customer pulls with a key that may do nothing else: it is what QA validated, and it runs"
        )
        statements = [
            Statement(actions=["ecr:GetAuthorizationToken"], resources=["*"]),
            Statement(
                actions=[
                    "ecr:BatchGetImage",
                    "ecr:GetDownloadUrlForLayer",
                    "ecr:BatchCheckLayerAvailability",
                ],
                resources=[f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/skydrm/*"],
            ),
        ]
        key, secret = self._stack.ecr.add_user("customers/acme", statements)
        client = boto3.client(
            "ecr",
            region_name=REGION,
            endpoint_url=self._stack.ecr.endpoint,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )
        answer = client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        user, _, token = base64.b64decode(answer).decode().partition(":")
        daemon = docker.DockerClient(base_url=self._stack.docker_host)
        engine = DockerEngine(self._stack.docker_host)
        try:
            for image in record.images:
                reference = f"{self._stack.ecr.host}/skydrm/{image.name}:{VERSION}"
                daemon.images.pull(reference, auth_config={"username": user, "password": token})
                found = engine.config_digest(reference)
                if found != image.config_digest:
                    raise IntegrityError(f"{reference}: expected {image.config_digest}, found {found}")
                line = daemon.containers.run(reference, network_mode="none", remove=True).decode().strip()
                self._say(self._short(f"    pulled {reference}: config {found}; it says: {line}"))
                engine.untag(reference)
                self._steps += 1
        except DockerException as error:
            raise RemoteError(f"the customer's pull failed: {error}") from error
        finally:
            daemon.close()

    def _publish(self) -> None:
        self._title("The installers of the same candidate go to the release area, and are read back there")
        self._command("release", "publish", _REF)
        self._command("release", "list")

    def _title(self, text: str) -> None:
        self._say(f"\n== {text}")

    def _command(self, *words: str, status: int = 0, lines: slice | None = None) -> None:
        command = [sys.executable, "-m", "jenkins_release", *words]
        shown = shlex.join(["jenkins-release", *(Path(w).name if w.startswith("/") else w for w in words)])
        self._run(command, shown, status, lines, self._product)

    def _shell(self, command: Sequence[str], lines: slice | None = None) -> None:
        self._run(list(command), " ".join(command), 0, lines, self._candidate)

    def _run(
        self, command: Sequence[str], shown: str, status: int, lines: slice | None, folder: Path
    ) -> None:
        self._say(f"$ {shown}")
        done = subprocess.run(
            command, cwd=folder, env=self._environ, capture_output=True, text=True, check=False
        )
        if done.returncode != status:
            raise RemoteError(
                f"{shown}: expected exit status {status}, found {done.returncode}: "
                f"{done.stdout.strip()} {done.stderr.strip()}"
            )
        text = done.stdout if status == 0 else f"{done.stderr.rstrip()}\nexit status {done.returncode}"
        for line in text.rstrip().splitlines()[lines or slice(None)]:
            self._say(self._short(f"    {line}"))
        self._steps += 1

    @staticmethod
    def _short(line: str) -> str:
        """Cut digests to twelve digits, and the titles above them by as much."""
        return _DIGEST.sub(r"\1", line) if _DIGEST.search(line) else _WIDE.sub("", line, count=1)
