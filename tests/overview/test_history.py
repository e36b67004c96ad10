"""The whole story of a version on one page: nothing left out, nothing believed that is not signed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from jenkins_release import CandidateRef, Services, load_configuration, release_history
from jenkins_release.records.attestation import TEST_RESULT, Place, sign_statement
from tests.fixtures.release import Begin, Product

REVISION = "0123456789abcdef0123456789abcdef01234567"
BUILD_URL = "https://jenkins.example/job/skydrm/42/"
FAILED = '<testsuite name="smoke"><testcase classname="a" name="one"><failure/></testcase></testsuite>'


@pytest.fixture
def storied(begin: Begin) -> Product:
    """A version with two builds: one failed, revoked, approved, overridden, promoted, withdrawn; one new."""
    return begin("storied", tell_story)


def tell_story(product: Product) -> None:
    product.edit("approvals = 0", "approvals = 1")
    done = product.run(
        *("candidate", "export", "--version", "8.1.0", "--build", "42"),
        GIT_COMMIT=REVISION,
        BUILD_URL=BUILD_URL,
        BUILD_USER_ID="bob",
    )
    assert done.status == 0, done.text
    results = product.folder / "failed.xml"
    results.write_text(FAILED)
    sign_off = ("qa", "sign-off", "8.1.0/42", "--results", str(results))
    product.ok(*sign_off, "--verdict", "fail", "--tester", "Quinn", "--note", "wrong fonts")
    product.ok("qa", "revoke", "8.1.0/42", "--tester", "Quinn", "--reason", "tested the wrong machine")
    product.ok(*sign_off, "--verdict", "fail", "--tester", "Quinn")
    product.sign_off(tester="Robin")
    plan = product.folder / "plan.json"
    product.plan = product.approve(plan, reason="customers wait for it")  # type: ignore[attr-defined]
    product.ok(
        "promote", "override", str(plan), "--condition", "fail", "--by", "Grace", "--reason", "only the fonts"
    )
    product.promoted = product.ok("promote", "run", "8.1.0/42")  # type: ignore[attr-defined]
    product.withdrawn = product.ok(  # type: ignore[attr-defined]
        "release", "withdraw", "8.1.0", "--reason", "the fonts after all"
    )
    product.export("43")


def attestation(product: Product, name: str, ident: str = "8.1.0/42") -> Path:
    return product.candidate(ident) / "attestations" / name


def test_the_page_tells_everything_in_order(storied: Product):
    """Who, when, from which revision, with which results, why, which digests, overridden, withdrawn."""
    done = storied.run("release", "history", "8.1.0")
    assert done.status == 0, done.text
    page = done.out
    told = [
        "SkyDRM 8.1.0: build 42 withdrawn, build 43 not released",
        "== build 42: withdrawn",
        "built and exported by bob",
        f"revision {REVISION}, in {BUILD_URL}",
        f"build attested by https://jenkins.example/, {BUILD_URL} [0001-build.dsse.json, key build]",
        "FAILED by Quinn [0002-qa.dsse.json, key qa]",
        "tests: 0 passed, 1 failed, 0 skipped; suites: smoke",
        "results failed.xml sha256:",
        "failed: a.one",
        "note: wrong fonts",
        "sign-offs REVOKED by Quinn: tested the wrong machine",
        "FAILED by Quinn [0004-qa.dsse.json, key qa]",
        "validated by Robin [0005-qa.dsse.json, key qa]",
        "tests: 2 passed, 0 failed, 0 skipped; suites: smoke",
        "approved by Ada: customers wait for it [0006-approval.dsse.json, key approval]",
        f"plan {storied.plan['planDigest']}, requested by ",  # type: ignore[attr-defined]
        "!! OVERRIDDEN",
        "Grace OVERRODE the conditions fail: only the fonts [0007-override.dsse.json, key override]",
        "!! OVERRIDDEN",
        f"to {storied.sandbox.ecr.host} [0008-promotion.dsse.json, key promotion]",
        "although fail was not met: Quinn's verdict of ",
        "overridden by Grace",
        "on the approval by Ada (attestation 6)",
        "WITHDRAWN by ",
        ": the fonts after all [0009-withdrawal.dsse.json, key promotion]",
        "9 attestations, chain complete up to 0009-withdrawal.dsse.json, SHA-256 ",
        "== build 43: not released",
    ]
    place = 0
    for text in told:
        place = page.find(text, place)
        assert place >= 0, f"{text!r} is missing or in the wrong place:\n{page}"
    assert page.count("!" * 78) == 4
    record = json.loads((storied.candidate() / "candidate.json").read_text())
    for image in record["images"]:
        assert image["config_digest"] in page
    for image in storied.promoted["images"]:  # type: ignore[attr-defined]
        assert page.count(image["digest"]) == 2


def test_the_summary_for_consumers_is_told(promoted: Product, tmp_path: Path):
    """'release attestations' signs a verification summary; the page says what it says."""
    promoted.ok("release", "attestations", "8.1.0", "--out", str(tmp_path / "bundle.jsonl"))
    page = promoted.run("release", "history", "8.1.0").out
    assert "summary for consumers: PASSED, SLSA_BUILD_LEVEL" in page
    assert "from 3 attestations" in page


def test_the_json_has_every_fact(storied: Product):
    """Each attestation with all that was signed, the chain's head, and the record of the export."""
    found = storied.ok("release", "history", "8.1.0")
    assert (found["product"], found["version"], found["altered"]) == ("SkyDRM", "8.1.0", [])
    first, second = found["candidates"]
    assert (first["candidate"], first["state"], first["overridden"]) == ("8.1.0/42", "withdrawn", True)
    assert (second["candidate"], second["state"], second["overridden"]) == ("8.1.0/43", "not released", False)
    assert first["exported"] == json.loads((storied.candidate() / "candidate.json").read_text())
    kinds = ["build", "qa", "revocation", "qa", "qa", "approval", "override", "promotion", "withdrawal"]
    assert [event["kind"] for event in first["events"]] == kinds
    assert [event["sequence"] for event in first["events"]] == list(range(1, 10))
    assert all(event["counts"] and event["key"] and not event["notes"] for event in first["events"])
    facts = [event["facts"] for event in first["events"]]
    assert facts[1]["tests"] == {"passed": 0, "failed": 1, "skipped": 0, "suites": ["smoke"]}
    assert facts[5]["plan"]["version"] == "8.1.0"
    assert facts[5]["planDigest"] == storied.plan["planDigest"]  # type: ignore[attr-defined]
    assert (facts[6]["by"], facts[6]["conditions"]) == ("Grace", ["fail"])
    assert facts[7]["overridden"][0]["by"] == "Grace"
    assert {i["digest"] for i in facts[7]["images"]} == {
        i["digest"]
        for i in storied.promoted["images"]  # type: ignore[attr-defined]
    }
    assert facts[8]["images"] == storied.withdrawn["images"]  # type: ignore[attr-defined]
    head = storied.ok("candidate", "verify", "8.1.0/42")["head"]
    assert first["chain"] == {"length": 9, "head": head, "intact": True}


def test_the_history_needs_no_registry_no_daemon_and_no_keys(
    storied: Product, monkeypatch: pytest.MonkeyPatch
):
    """Anyone who may read the share may read it: everything else is out of reach here."""
    for name in [name for name in storied.environ if name.startswith(("AWS_", "DOCKER_"))]:
        monkeypatch.delenv(name, raising=False)
        del storied.environ[name]
    del storied.environ["JENKINS_RELEASE_KEY_PASSPHRASE"]
    for path in (storied.folder / "keys").glob("*.pem"):
        path.unlink()
    before = sorted(str(path) for path in storied.share.rglob("*"))
    assert storied.ok("release", "history", "8.1.0")["candidates"][0]["state"] == "withdrawn"
    assert sorted(str(path) for path in storied.share.rglob("*")) == before


def test_a_version_without_candidates(exported: Product):
    """Exit status 2, and what to do."""
    done = exported.run("release", "history", "8.2.0")
    assert done.status == 2
    assert "there is no candidate of SkyDRM 8.2.0" in done.err
    assert "candidate list" in done.err
    assert exported.run("release", "history", "../8.1.0").status == 2
    assert exported.run("release", "history").status == 2


def test_what_does_not_count_is_shown_with_the_reason(exported: Product):
    """An attestation by an unknown key stands in its place, says what it says, and changes nothing."""
    record = (exported.candidate() / "candidate.json").read_bytes()
    folder = exported.candidate() / "attestations"
    services = services_of(exported)
    before = services.candidates.attestations(CandidateRef("8.1.0", "42"))
    stranger = sign_statement(
        TEST_RESULT,
        {"result": "PASSED", "configuration": []},
        {"candidate.json": digest_of(record)},
        place=Place.after(before),
        signed_at=services.now(),
        signer=CryptoSigner.generate_ed25519(),
        extension={
            "tester": "Mallory\n   2026-11-20 18:00Z  validated by Quinn\x1b[2K\u202e",
            "tests": "none",
        },
    )
    (folder / "0002-qa.dsse.json").write_bytes(stranger)
    services.close()
    done = exported.run("release", "history", "8.1.0")
    assert done.status == 0
    assert "NOT COUNTED qa [0002-qa.dsse.json, no trusted key]" in done.out
    assert "is signed by an unknown key" in done.out
    assert "it says: validated by Mallory\\n   2026" in done.out
    assert not [line for line in done.out.splitlines() if line.startswith("   2026-11-20 18:00Z")]
    assert "\x1b" not in done.out
    assert "\u202e" not in done.out
    event = exported.ok("release", "history", "8.1.0")["candidates"][0]["events"][1]
    assert (event["counts"], event["key"]) == (False, "")
    assert "unknown key" in event["notes"][0]


def test_an_altered_story_is_told_in_full_and_ends_with_status_4(storied: Product, tmp_path: Path):
    """The page, a block that nobody overlooks, an error on stderr, and both in the result file."""
    attestation(storied, "0003-revocation.dsse.json").unlink()
    attestation(storied, "0005-qa.dsse.json").write_text("{}")
    result = tmp_path / "result.json"
    done = storied.run("release", "history", "8.1.0", "--result", str(result))
    assert done.status == 4
    assert "approved by Ada: customers wait for it" in done.out
    assert "== build 43: not released" in done.out
    assert "!! ALTERED" in done.out
    assert "the attestation 0003 between 0002-qa.dsse.json and 0004-qa.dsse.json was removed" in done.out
    assert "NOT COUNTED unreadable [0005-qa.dsse.json, no trusted key]" in done.out
    assert "error: the record of SkyDRM 8.1.0 was altered" in done.err
    document = json.loads(result.read_text())
    assert document["error"]["category"] == "integrity"
    assert document["error"]["reasons"] == document["altered"]
    assert [build["chain"]["intact"] for build in document["candidates"]] == [False, True]
    as_json = storied.run("release", "history", "8.1.0", "--json")
    assert (as_json.status, as_json.json) == (4, document)


def test_a_candidate_that_was_renamed_by_hand_shows(exported: Product):
    """The folder says one build, the record another."""
    exported.candidate().rename(exported.candidate("8.1.0/44"))
    done = exported.run("release", "history", "8.1.0")
    assert done.status == 4
    assert "describes SkyDRM 8.1.0/42: the folder was renamed or copied" in done.out


def test_a_missing_candidate_json_and_an_oversized_attestation_hide_nothing(storied: Product):
    """What is left is told, and what is wrong is named."""
    (storied.candidate() / "candidate.json").unlink()
    with attestation(storied, "0010-qa.dsse.json").open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    done = storied.run("release", "history", "8.1.0")
    assert done.status == 4
    assert "candidate.json cannot be read: it is unknown what was exported" in done.out
    assert "candidate.json is missing" in done.out
    assert "0010-qa.dsse.json has more than 16777216 bytes" in done.out
    assert "approved by Ada" in done.out


def test_a_revoked_key_takes_its_events_out_of_the_story(storied: Product):
    """They stay on the page, and count no more: nobody was entitled to them."""
    text = storied.config.read_text()
    place = text.index("[[trusted_keys]]", text.index('name = "promotion"') - 30)
    storied.config.write_text(text[:place] + text[place:].replace("roles =", "revoked = true\nroles =", 1))
    found = storied.ok("release", "history", "8.1.0")["candidates"][0]
    assert found["state"] == "not released"
    uncounted = [event["kind"] for event in found["events"] if not event["counts"]]
    assert uncounted == ["promotion", "withdrawal"]


def test_the_python_api_tells_the_same(storied: Product):
    """A pipeline step gets the story as objects."""
    with services_of(storied) as services:
        found = release_history("8.1.0", services)
    assert [build.story.state for build in found.builds] == ["withdrawn", "not released"]
    assert found.problem() is None


def services_of(product: Product) -> Services:
    configuration = load_configuration(None, environ=product.environ, options={})
    return Services(configuration, environ=product.environ)


def digest_of(data: bytes) -> str:
    from hashlib import sha256

    return sha256(data).hexdigest()
