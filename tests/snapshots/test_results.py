"""The JSON results of every command, in one release from its export to its end."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pyrage
import pytest

from jenkins_release.sandbox.ecr.state import REGION
from tests.cli.test_main import commands
from tests.fixtures.command import Commands
from tests.fixtures.jenkins import LAUNCH, Desk
from tests.fixtures.ledger import folder_ledger, with_ledger
from tests.fixtures.notify import Hook, hook_section
from tests.fixtures.release import JUNIT, Product
from tests.fixtures.sbom import syft_spdx, to_bytes
from tests.fixtures.setup_zip import write_templates
from tests.fixtures.snapshots import FOLDER, Snapshots
from tests.fixtures.trust import Ceremony
from tests.snapshots.documents import INSTALLER, installer, keep, missing
from tests.snapshots.normal import document, normal

RESULTS = FOLDER / "results"
REF = "8.1.0/42"
SANDBOX = {("sandbox", name) for name in ("demo", "enter", "start", "status")}
"""They start servers of their own, or show them; ``tests/sandbox``, ``domain`` and ``docs`` run them."""
ELSEWHERE = {("candidate", "serve"), ("candidate", "warm")}
"""One goes on until Ctrl-C; what the other finds depends on the daemon. ``tests/candidate`` runs them."""


@dataclass
class Story:
    """Commands that ran, and what they returned.

    Attributes:
        places: Texts of this run to what stands for them.
        told: Command to its runs, in order.
        wrong: What ended with another status than it should have.
    """

    places: dict[str, str]
    told: dict[tuple[str, ...], list[dict[str, Any]]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def run(self, who: Commands, *words: str, status: int = 0, **environ: str) -> Any:
        """Run a command, keep its result, and return it."""
        done = who.run(*words, "--json", **environ)
        if done.status != status or not done.out:
            self.wrong.append(f"{' '.join(words)}: {done.text}")
            return {}
        verb = words[:1] if words[0] in {"doctor", "verify"} else words[:2]
        kept = {"command": normal(" ".join(words), self.places), "status": status}
        self.told.setdefault(verb, []).append({**kept, "result": normal(done.json, self.places)})
        return done.json


@pytest.fixture
def places(product: Product, tmp_path: Path) -> dict[str, str]:
    """A product with everything that a command can be about."""
    out = product.folder / "out"
    out.mkdir()
    (out / INSTALLER).write_bytes(installer())
    (product.folder / "junit.xml").write_text(JUNIT)
    write_templates(product.folder / "bundle")
    stack = product.sandbox
    product.edit("approvals = 0\n", "approvals = 1\naccept_notary = ['request']\n")
    product.append("\n[[installers]]\nfiles = 'out/*'\n[support]\nlines = 1\n")
    product.append(f"[portal]\nkind = 's3'\nbucket = '{product.prefix}-downloads'\nregion = '{REGION}'\n")
    product.append(f'[bundle]\nlayer_host = "{stack.ecr.host}"\ndisk_gb = 1\nmemory_gb = 1\n')
    product.append(stack.add_saas(("rms", "viewer"), cluster=product.prefix))
    product.append(f"[customers]\npath = '/{product.prefix}/'\n")
    product.append(hook_section())
    with_ledger(product, folder_ledger(tmp_path / "ledger"))
    s3 = boto3.client("s3", region_name=REGION, endpoint_url=stack.moto.endpoint)
    s3.create_bucket(Bucket=f"{product.prefix}-downloads")
    return {
        str(tmp_path): "<folder>",
        f"/{product.prefix}": "/<product>",
        f"{product.prefix}/": "<product>/",
        f"\\{product.prefix}\\": "\\<product>\\",
        f"\\{product.prefix} is there": "\\<product> is there",
    }


def test_every_result_is_what_it_was(
    product: Product,
    places: dict[str, str],
    empty_desk: Desk,
    hook: Hook,
    tmp_path: Path,
    snapshots: Snapshots,
) -> None:
    """Pipelines read these documents: fields, order, names and messages."""
    story = Story(places)
    product.environ |= {"BUILD_USER_ID": "rita", "JENKINS_RELEASE_WEBHOOK_URL": hook.url}
    _candidate(story, product, tmp_path)
    _promotion(story, product, tmp_path)
    _publication(story, product)
    _customers(story, product, tmp_path)
    _end(story, product)
    _comparison(story, product)
    _trust(story, product, tmp_path)
    _jenkins(story, empty_desk)
    assert not story.wrong, "\n\n".join(story.wrong)
    told = {" ".join(verb) for verb in story.told}
    others = {" ".join(words) for words in SANDBOX | ELSEWHERE}
    assert {" ".join(words) for words in commands()} - others == told
    groups = sorted({verb[0] for verb in story.told})
    for group in groups:
        runs = [run for verb, each in sorted(story.told.items()) if verb[0] == group for run in each]
        snapshots.same(f"{group}.json", document(runs), RESULTS)
    snapshots.no_others(RESULTS, {f"{group}.json" for group in groups})
    if snapshots.update and missing():
        keep(product, tmp_path, hook.documents)


def _candidate(story: Story, product: Product, folder: Path) -> None:
    run = story.run
    run(product, "doctor", "--for", "publish")
    run(product, "doctor", "--for", "publish", "--releases", str(folder / "nowhere"), status=5)
    export = ("candidate", "export", "--version", "8.1.0", "--from", str(product.folder), "--build")
    run(product, *export, "42", "--dry-run")
    run(product, *export, "42")
    run(product, *export, "42", status=2)
    run(product, "candidate", "show", REF)
    run(product, "promote", "run", REF, status=3)
    run(product, "candidate", "load", REF)
    run(product, "candidate", "fetch", REF, str(folder / "fetched"))
    run(product, "candidate", "verify", REF)
    results = ("--results", str(product.folder / "junit.xml"))
    run(product, "qa", "results", *results)
    tested = ("qa", "sign-off", REF, "--tester", "Quinn", *results, "--digest", product.digest())
    run(product, *tested, "--verdict", "pass")
    run(product, "qa", "revoke", REF, "--tester", "Quinn", "--reason", "wrong machine")
    run(product, *tested, "--verdict", "pass", "--note", "on the right machine")
    run(product, "candidate", "list")
    run(product, "candidate", "show", REF)


def _promotion(story: Story, product: Product, folder: Path) -> None:
    run = story.run
    key = product.folder / "keys" / "request.pem"
    run(product, "keys", "generate", str(key))
    run(product, "keys", "show", f"{key}.pub")
    product.edit("[signing]\n", f'[signing]\nrequest_key = "file2:{key}"\n')
    product.append("[[trusted_keys]]\nname = 'request'\nroles = ['request']\n")
    product.append("public_key = 'keys/request.pem.pub'\nnotary = true\n")
    plan = str(folder / "plan.json")
    run(product, "promote", "plan", REF, "--out", plan)
    why = ("--reason", "8.1.0 goes out")
    run(product, "promote", "approve", plan, "--approver", "Rita", *why, status=3)
    run(product, "promote", "override", plan, "--condition", "approvals", "--by", "Casey", *why)
    run(product, "promote", "approve", plan, "--approver", "Ada", *why)
    run(product, "promote", "status", REF)
    run(product, "promote", "run", REF, "--dry-run")
    run(product, "promote", "run", REF)
    run(product, "promote", "run", REF)
    run(product, "promote", "status", REF)
    for words in (("ledger", "show", REF), ("ledger", "verify"), ("ledger", "adopt", REF)):
        run(product, *words)


def _publication(story: Story, product: Product) -> None:
    run = story.run
    run(product, "release", "publish", REF)
    run(product, "release", "portal", "8.1.0")
    bundle, setup = (str(product.folder / name) for name in ("8.1.0.jsonl", "setup.zip"))
    run(product, "release", "attestations", "8.1.0", "--out", bundle)
    run(product, "release", "attach", "8.1.0")
    files = ("--files", str(product.folder / "out" / INSTALLER))
    keys = ("--trusted-keys", str(product.folder / "keys"))
    run(product, "verify", "--bundle", bundle, "--release", "8.1.0", *files, *keys)
    run(product, "bundle", "build", "8.1.0", "--out", setup)
    run(product, "bundle", "verify", setup, *keys)
    run(product, "saas", "refresh", "8.1.0")
    run(product, "saas", "status")
    run(product, "saas", "rollback")
    run(product, "notify", "test")
    run(product, "release", "history", "8.1.0")
    run(product, "release", "list")


def _customers(story: Story, product: Product, folder: Path) -> None:
    run = story.run
    place = folder / "keys for customers"
    place.mkdir()
    identity = pyrage.x25519.Identity.generate()
    where = ("--file", str(place), "--recipient", str(identity.to_public()))
    story.places[str(identity.to_public())] = "<recipient>"
    name = f"acme-{product.prefix}"
    story.places[name] = "<customer>"
    issue = ("customer", "issue", name, "--ticket", "DEVOPS-1", "--source-ip", "any", *where)
    run(product, *issue, "--dry-run")
    run(product, *issue)
    run(product, "customer", "list")
    run(product, "customer", "audit")
    run(product, "customer", "doctor", name, "--tag", "8.1.0")
    run(product, "customer", "rotate", name, *where)
    assert not story.wrong, "\n\n".join(story.wrong)  # no key, and nothing to go on with
    first = json.loads(pyrage.decrypt(min(place.glob("*.age"), key=_written).read_bytes(), [identity]))
    own = {"ID": first["accessKeyId"], "SECRET": first["secretAccessKey"]}
    given = {f"JENKINS_RELEASE_CUSTOMER_KEY_{name}": text for name, text in own.items()}
    run(product, "customer", "revoke", name, "--reason", "the contract ended", **given)


def _written(path: Path) -> int:
    return path.stat().st_mtime_ns


def _end(story: Story, product: Product) -> None:
    story.run(product, "release", "retire")
    withdraw = ("release", "withdraw", "8.1.0", "--reason", "loses documents")
    story.run(product, *withdraw)
    story.run(product, *withdraw, "--delete")
    story.run(product, *withdraw, "--delete", "--confirm", REF)
    story.run(product, "promote", "status", REF)
    story.run(product, "release", "history", "8.1.0")
    story.run(product, "sandbox", "stop", "--folder", str(product.folder / "none"))


def _comparison(story: Story, product: Product) -> None:
    (product.folder / "rms.json").write_bytes(to_bytes(syft_spdx(tag="8.1.0-43")))
    product.edit('[[images]]\nname = "rms"\n', '[[images]]\nname = "rms"\nsbom = ["rms.json"]\n')
    product.export("43")
    story.run(product, "release", "compare", REF, "8.1.0/43")
    story.run(product, "release", "board", "--out", str(product.folder / "board"))


def _trust(story: Story, product: Product, folder: Path) -> None:
    run = story.run
    ceremony = Ceremony(product, folder / "root")
    draft = str(ceremony.next_draft())
    run(product, "trust", "init", "--draft", draft, "--threshold", "2", *ceremony.roots(*ceremony.names))
    for name in ceremony.names[:2]:
        run(product, "trust", "sign", draft, "--key", f"file2:{ceremony.folder / name}.pem")
    ceremony.pin(run(product, "trust", "publish", draft).get("pin", ""))
    product.edit("approvals = 1\n", "approvals = 2\n")
    draft = str(ceremony.next_draft())
    run(product, "trust", "update", "--draft", draft)
    run(product, "trust", "show", "--draft", draft)
    run(product, "trust", "show")


def _jenkins(story: Story, desk: Desk) -> None:
    story.run(desk, "jobs", "show")
    story.run(desk, "jobs", "diff")
    story.run(desk, "jobs", "apply")
    story.run(desk.of("bob"), *LAUNCH, "--request-id", "first", "--dry-run")
    story.run(desk.of("bob"), *LAUNCH, "--request-id", "first", "--detach")
    story.run(desk.of("bob"), "promote", "status", REF, "--job", "--request-id", "first")


def test_the_run_of_a_release_leaves_no_trace_of_the_machine() -> None:
    """Digests, times, sizes and places are taken out; names, counts and answers stay."""
    found = {"at": "2026-11-20T10:00:00+00:00", "bytes": 12345, "count": 3, "ok": True, "seconds": 1.5}
    found |= {"digest": f"sha256:{'ab' * 32}", "path": "/tmp/x/plan.json", "said": "sent 1.2 MB in 3.0 s"}
    assert normal(found, {"/tmp/x": "<folder>"}) == {
        "at": "<time>",
        "bytes": "<integer>",
        "count": 3,
        "ok": True,
        "seconds": "<number>",
        "digest": "sha256:<sha256>",
        "path": "<folder>/plan.json",
        "said": "sent <measured> in <measured>",
    }
