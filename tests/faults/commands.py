"""The commands of the matrix: what each starts from, where faults hit it, and what may be seen of it."""

from __future__ import annotations

import base64
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import boto3
import pyrage
import requests

from jenkins_release.sandbox.ecr.state import REGION
from tests.faults.stage import BUCKET, BUILDS, NAMES, NEWER, OLDER, VERSION, Product, Stage
from tests.faults.wire import RECEIVED, SENT


@dataclass(frozen=True)
class Key:
    """Where on a line a fault hits a command.

    Attributes:
        label: What the telling request is about: a word of SMB, or a regular expression for those of HTTP.
        way: In which way the telling bytes pass.
        byte: A byte in the middle of them, on one connection.
        write: The first request that changes something; ``label`` where it is empty.
    """

    label: str
    way: str = SENT
    byte: int = 2_000
    write: str = ""


class Play:
    """One run of a command: what it starts from, and what is seen of it.

    Args:
        stage: The servers.
        command: The command.

    Attributes:
        more: Variables of its own.
        lifted: What ends a fault that lies in these variables.
    """

    def __init__(self, stage: Stage, command: Command) -> None:
        self.stage, self.command = stage, command
        self.number = next(stage.numbers)
        self.product: Product = getattr(stage, command.product)
        self.more = dict(command.environ)
        self.lifted: list[Callable[[], object]] = []
        self.folder = stage.root / f"play{self.number}"
        self.customer = f"acme{self.number}"
        self.cluster = f"cluster{self.number}"
        self.folder.mkdir()

    def prepare(self) -> None:
        """Put everything back to what the command starts from."""
        self.product.put_back(self.command.state)
        if self.command.product == "released":
            self.product.refill_registry()
        elif "ecr" in self.command.lines:
            self.product.empty_registry()
        self.command.prepare(self)

    def words(self) -> list[str]:
        """Return the command line."""
        return self.command.words(self)

    def environ(self) -> dict[str, str]:
        """Return the environment."""
        return self.product.environ(*self.words(), **self.more)

    def look(self) -> list[str]:
        """Say what is visible and must not be."""
        wrong = self.command.look(self)
        if "smb" in self.command.lines:
            wrong += self.product.look_at_share()
        if "ecr" in self.command.lines:
            wrong += self.product.look_at_registry(whole=self.command.step != "retire")
        return wrong

    def visible(self) -> str:
        """Say in a few words what there is to see."""
        return self.command.visible(self)

    def problems(self) -> list[str]:
        """Say what is missing once the command has ended well."""
        return self.look() + self.command.finished(self)

    def close(self) -> None:
        """Remove its files."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _nothing(_: Play) -> None:
    pass


def _no_problem(_: Play) -> list[str]:
    return []


def _of_product(play: Play) -> list[str]:
    return play.product.words(play.command.step, play.command.version)


@dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes:
        name: Its name in the table.
        product: ``fresh`` or ``released``.
        step: Its step of the story.
        state: The snapshot that it starts from; empty for an empty share.
        lines: Line to where a fault hits it there.
        finished: What is missing once it has ended well.
        visible: What there is to see, in a few words.
        version: The version that it is about.
        environ: Further variables.
        prepare: What else is put back.
        words: Its command line.
        look: What else must not be seen.
    """

    name: str
    product: str
    step: str
    state: str
    lines: dict[str, Key]
    finished: Callable[[Play], list[str]]
    visible: Callable[[Play], str]
    version: str = VERSION
    environ: dict[str, str] = field(default_factory=dict, repr=False)
    prepare: Callable[[Play], None] = _nothing
    words: Callable[[Play], list[str]] = _of_product
    look: Callable[[Play], list[str]] = _no_problem


def _missing(found: object, expected: object, what: str) -> list[str]:
    return [] if found == expected else [f"{what}: found {found}, expected {expected}"]


def _folder(play: Play) -> str:
    version = play.command.version
    return f"SkyDRM/{version}/{BUILDS[version]}"


def _temporary(play: Play) -> list[str]:
    """Say which names of a push or pull the daemon still has."""
    left = [name for name in play.stage.engine.names() if "/jenkins-release/" in name]
    return [f"the daemon keeps {', '.join(left)}"] if left else []


def _pushed(play: Play) -> list[str]:
    return _exported(play) + _temporary(play)


def _prepare_load(play: Play) -> None:
    play.product.forget_loaded()


def _load(play: Play) -> list[str]:
    return ["candidate", "load", f"{OLDER}/{BUILDS[OLDER]}"]


def _look_at_daemon(play: Play) -> list[str]:
    expected = play.product.expected()
    return [
        f"{name} is {digest}, expected {expected[name]}"
        for name, digest in play.product.loaded().items()
        if digest != expected[name]
    ]


def _loaded(play: Play) -> list[str]:
    return _missing(play.product.loaded(), play.product.expected(), "images in the daemon") + _temporary(play)


def _images(play: Play) -> str:
    found = play.product.loaded()
    if not found:
        return "nothing"
    return "the images" if len(found) == len(NAMES) else ", ".join(found)


def _exported(play: Play) -> list[str]:
    return _missing(_folder(play) in play.product.visible(), True, "the candidate is visible")


def _candidate(play: Play) -> str:
    return "the candidate" if _folder(play) in play.product.visible() else "nothing"


def _statements(kind: str) -> Callable[[Play], list[str]]:
    def check(play: Play) -> list[str]:
        found = play.product.attestations(kind, play.command.version)
        return [] if len(found) == 1 else [f"{kind} attestations: {found}, expected one"]

    return check


def _statement_count(kind: str, name: str) -> Callable[[Play], str]:
    def visible(play: Play) -> str:
        found = len(play.product.attestations(kind, play.command.version))
        return f"{found} {name}" + ("s" if found > 1 else "") if found else "nothing"

    return visible


def _promoted(play: Play) -> list[str]:
    found = _missing(play.product.released(), list(play.product.repositories), "repositories released")
    return found + _statements("promotion")(play)


def _tags(play: Play) -> str:
    found = play.product.released(play.command.version)
    if not found:
        return "nothing"
    return "the release" if len(found) == len(NAMES) else "the release tag of " + ", ".join(found)


def _published(play: Play) -> list[str]:
    return _missing(
        f"SkyDRM/{play.command.version}" in play.product.visible(), True, "the release is visible"
    )


def _publication(play: Play) -> str:
    return "nothing" if _published(play) else "the release"


def _objects(play: Play) -> dict[str, bytes]:
    """Return what customers can download of a play's portal, by name."""
    prefix = f"p{play.number}/"
    found = play.stage.bucket.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return {
        each["Key"].removeprefix(prefix): play.stage.bucket.get_object(Bucket=BUCKET, Key=each["Key"])[
            "Body"
        ].read()
        for each in found
    }


def _prepare_portal(play: Play) -> None:
    play.more["JENKINS_RELEASE_PORTAL_PREFIX"] = f"p{play.number}"


def _look_at_portal(play: Play) -> list[str]:
    objects, wrong = _objects(play), []
    folder = play.product.releases / "SkyDRM" / play.command.version
    for name, data in objects.items():
        if name.startswith(f"SkyDRM/{play.command.version}/"):
            path = folder / name.split("/", 2)[2]
            if not path.exists() or path.read_bytes() != data:
                wrong.append(f"{name} has other bytes than the release area")
    page = objects.get("SkyDRM/index.html", b"")
    if play.command.version.encode() in page:
        released = json.loads((folder / "release.json").read_text())["files"]
        wrong += [
            f"the page shows the release, and {file['path']} is missing"
            for file in released
            if f"SkyDRM/{play.command.version}/{file['path']}" not in objects
        ]
    return wrong


def _at_portal(play: Play) -> list[str]:
    page = _objects(play).get("SkyDRM/index.html", b"")
    return _missing(play.command.version.encode() in page, True, "the page shows the release")


def _portal(play: Play) -> str:
    objects = _objects(play)
    if play.command.version.encode() in objects.get("SkyDRM/index.html", b""):
        return "the release on the page"
    return f"{len(objects)} files, no page" if objects else "nothing"


def _withdrawn(play: Play) -> list[str]:
    return _missing(play.product.released(), [], "release tags") + _statements("withdrawal")(play)


def _retired(play: Play) -> list[str]:
    return _missing(play.product.released(), [], "release tags of the old line")


def _look_at_supported(play: Play) -> list[str]:
    found = play.product.released(NEWER)
    return _missing(found, list(play.product.repositories), "repositories with the supported release")


def _bundle(play: Play) -> list[str]:
    return [*play.product.words("bundle")[:-1], str(play.folder / "setup.zip")]


def _prepare_bundle(play: Play) -> None:
    if "setup" not in play.product.snapshots:
        play.product.ok(*play.product.words("bundle"))
        play.product.snapshots["setup"] = play.product.folder / "setup.zip"
        play.product.put_back(play.command.state)


def _zip(play: Play) -> str:
    return "the zip" if (play.folder / "setup.zip").exists() else "nothing"


def _look_at_zip(play: Play) -> list[str]:
    path = play.folder / "setup.zip"
    if not path.exists():
        return []
    # Statements in it are signed at their time: the members are the same, and it is whole.
    try:
        with zipfile.ZipFile(path) as found, zipfile.ZipFile(play.product.snapshots["setup"]) as expected:
            whole = found.testzip() is None and len(found.namelist()) == len(expected.namelist())
    except zipfile.BadZipFile:
        whole = False
    return [] if whole else ["the setup zip is not whole"]


def _bundled(play: Play) -> list[str]:
    return _missing(_zip(play), "the zip", "the setup zip") + _look_at_zip(play)


def _prepare_stack(play: Play) -> None:
    text = play.product.config.read_text().split("\n[saas]\n")[0]
    own = play.stage.sandbox.add_saas(NAMES, cluster=play.cluster)
    behind, before = (f"127.0.0.1:{port}" for port in (play.stage.sandbox.ecr.port, play.stage.ecr.port))
    play.product.config.write_text(text + own.replace(behind, before).replace("60.0", "10.0"))


def _running(play: Play) -> dict[str, str]:
    """Return the image that each service is to run."""
    client, found = play.stage.services, {}
    for service in client.describe_services(cluster=play.cluster, services=list(NAMES))["services"]:
        definition = client.describe_task_definition(taskDefinition=service["taskDefinition"])
        containers = definition["taskDefinition"]["containerDefinitions"]
        (found[service["serviceName"]],) = [
            each["image"] for each in containers if each["name"] == service["serviceName"]
        ]
    return found


def _look_at_stack(play: Play) -> list[str]:
    wrong = []
    for name, image in _running(play).items():
        digest = play.product.manifests[f"{play.product.name}/{name}", play.command.version][0]
        if image != "skydrm-before-the-first-refresh" and not image.endswith(f"@{digest}"):
            wrong.append(f"the service {name} is to run {image}")
    return wrong


def _refreshed(play: Play) -> list[str]:
    return _missing(_stack(play), "the release runs", "the stack")


def _stack(play: Play) -> str:
    new = [name for name, image in _running(play).items() if "@sha256:" in image]
    if not new:
        return "what ran before"
    return "the release runs" if len(new) == len(NAMES) else f"the release runs in {', '.join(new)}"


def _customer(*words: str) -> Callable[[Play], list[str]]:
    def made(play: Play) -> list[str]:
        return ["customer", words[0], play.customer, *words[1:], *_where(play, words[0])]

    return made


def _where(play: Play, what: str) -> list[str]:
    if what == "revoke":
        return []
    return ["--file", str(play.folder), "--recipient", str(play.stage.identity.to_public())]


def _issue_first(play: Play) -> None:
    play.product.ok(*_customer("issue", "--ticket", "DEVOPS-1", "--source-ip", "any")(play))


def _handed_over(play: Play) -> list[dict[str, str]]:
    return [
        json.loads(pyrage.decrypt(path.read_bytes(), [play.stage.identity]))
        for path in sorted(play.folder.glob("*.age"))
    ]


def _pulls(play: Play, key: dict[str, str]) -> int:
    """Return the status that a pull with a key ends with."""
    client = boto3.client(
        "ecr",
        region_name=REGION,
        endpoint_url=play.stage.sandbox.ecr.endpoint,
        aws_access_key_id=key["accessKeyId"],
        aws_secret_access_key=key["secretAccessKey"],
    )
    try:
        answer = client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    except client.exceptions.ClientError as error:
        return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
    token = base64.b64decode(answer).decode()
    http = requests.Session()
    http.trust_env = False
    http.auth = tuple(token.split(":", 1))  # type: ignore[assignment]
    url = f"{play.stage.sandbox.ecr.endpoint}/v2/{play.product.repositories[0]}/manifests/{VERSION}"
    return http.get(url, timeout=10).status_code


def _keys(play: Play) -> list[dict[str, Any]]:
    client = play.stage.iam
    for user in client.list_users()["Users"]:
        if user["UserName"].casefold().endswith(play.customer):
            found: list[dict[str, Any]] = client.list_access_keys(UserName=user["UserName"])[
                "AccessKeyMetadata"
            ]
            return found
    return []


def _access(play: Play) -> str:
    keys = len([key for key in _keys(play) if key["Status"] == "Active"])
    files = len(list(play.folder.glob("*.age")))
    return f"{keys} active keys, {files} handed over" if keys or files else "nothing"


def _issued(count: int) -> Callable[[Play], list[str]]:
    def check(play: Play) -> list[str]:
        active = {key["AccessKeyId"] for key in _keys(play) if key["Status"] == "Active"}
        given = [key for key in _handed_over(play) if key["accessKeyId"] in active]
        wrong = _missing((len(active), len(given)), (count, count), "active keys, and those handed over")
        return wrong + [f"a key that was handed over pulls with {s}" for s in _statuses(play, given, {200})]

    return check


def _statuses(play: Play, keys: list[dict[str, str]], right: set[int]) -> list[int]:
    return [status for key in keys if (status := _pulls(play, key)) not in right]


def _revoked(play: Play) -> list[str]:
    found = _statuses(play, _handed_over(play), {400, 401, 403})
    return [f"a revoked key pulls with {status}" for status in found]


_REGISTRY = {"JENKINS_RELEASE_PROMOTE_ENGINE": "registry"}
_DOCKER = {"JENKINS_RELEASE_PROMOTE_ENGINE": "docker"}

COMMANDS: dict[str, Command] = {
    each.name: each
    for each in (
        Command(
            "candidate export",
            "fresh",
            "export",
            "",
            {"smb": Key("WRITE", SENT, 700_000)},
            _exported,
            _candidate,
        ),
        Command(
            "candidate export (push)",
            "exported",
            "export",
            "export",
            {"smb": Key("WRITE", SENT, 300_000)},
            _pushed,
            _candidate,
            version=NEWER,
            environ={"JENKINS_RELEASE_EXPORT_SOURCE": "push"},
        ),
        Command(
            "candidate load (pull)",
            "exported",
            "load",
            "export",
            {"smb": Key("READ", RECEIVED, 300_000)},
            _loaded,
            _images,
            version=OLDER,
            environ={"JENKINS_RELEASE_LOAD_SOURCE": "pull"},
            prepare=_prepare_load,
            words=_load,
            look=_look_at_daemon,
        ),
        Command(
            "qa sign-off",
            "fresh",
            "sign-off",
            "fetch",
            {"smb": Key("RENAME", SENT, 4_000)},
            _statements("qa"),
            _statement_count("qa", "verdict"),
        ),
        Command(
            "promote approve",
            "fresh",
            "approve",
            "plan",
            {"smb": Key("RENAME", SENT, 4_000), "ecr": Key("DescribeRepositories|ListImages", RECEIVED, 200)},
            _statements("approval"),
            _statement_count("approval", "approval"),
        ),
        Command(
            "promote run (registry)",
            "fresh",
            "promote",
            "approve",
            {
                "smb": Key("READ", RECEIVED, 300_000),
                "ecr": Key("PATCH blobs/uploads", SENT, 300_000, write="PutImage"),
            },
            _promoted,
            _tags,
            environ=_REGISTRY,
        ),
        Command(
            "promote run (docker)",
            "plain",
            "promote",
            "approve",
            {
                "smb": Key("READ", RECEIVED, 300_000),
                "ecr": Key("ListImages", RECEIVED, 300, write="PutImage"),
            },
            _promoted,
            _tags,
            environ=_DOCKER,
        ),
        Command(
            "release publish",
            "released",
            "publish",
            "promote",
            {"smb": Key("WRITE|IOCTL", SENT, 4_000)},
            _published,
            _publication,
            version=NEWER,
        ),
        Command(
            "release portal",
            "released",
            "portal",
            "publish",
            {"smb": Key("READ", RECEIVED, 200_000), "aws": Key("PUT object", SENT, 300_000)},
            _at_portal,
            _portal,
            prepare=_prepare_portal,
            look=_look_at_portal,
        ),
        Command(
            "release withdraw",
            "released",
            "withdraw",
            "publish",
            {"smb": Key("RENAME", SENT, 4_000), "ecr": Key("BatchDeleteImage", RECEIVED, 400)},
            _withdrawn,
            _tags,
        ),
        Command(
            "release retire",
            "released",
            "retire",
            "publish",
            {"smb": Key("RENAME", SENT, 4_000), "ecr": Key("BatchDeleteImage", RECEIVED, 400)},
            _retired,
            _tags,
            look=_look_at_supported,
        ),
        Command(
            "bundle build",
            "released",
            "bundle",
            "publish",
            {"smb": Key("RENAME", SENT, 4_000)},
            _bundled,
            _zip,
            prepare=_prepare_bundle,
            words=_bundle,
            look=_look_at_zip,
        ),
        Command(
            "customer issue",
            "released",
            "issue",
            "publish",
            {
                "aws": Key("CreateAccessKey", RECEIVED, 300),
                "ecr": Key("GetAuthorizationToken", RECEIVED, 200),
            },
            _issued(1),
            _access,
            words=_customer("issue", "--ticket", "DEVOPS-1", "--source-ip", "any"),
        ),
        Command(
            "customer rotate",
            "released",
            "rotate",
            "publish",
            {
                "aws": Key("CreateAccessKey", RECEIVED, 300),
                "ecr": Key("GetAuthorizationToken", RECEIVED, 200),
            },
            _issued(2),
            _access,
            prepare=_issue_first,
            words=_customer("rotate"),
        ),
        Command(
            "customer revoke",
            "released",
            "revoke",
            "publish",
            {"aws": Key("PutUserPolicy", RECEIVED, 300), "ecr": Key("GetAuthorizationToken", RECEIVED, 200)},
            _revoked,
            _access,
            prepare=_issue_first,
            words=_customer("revoke", "--reason", "the contract ended"),
        ),
        Command(
            "saas refresh",
            "released",
            "refresh",
            "publish",
            {"smb": Key("RENAME", SENT, 4_000), "ecr": Key("UpdateService", RECEIVED, 300)},
            _refreshed,
            _stack,
            prepare=_prepare_stack,
            look=_look_at_stack,
        ),
    )
}
