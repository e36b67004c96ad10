"""What a candidate waits for, and for whom."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jenkins_release.records.attestation import PUBLICATION, RETIREMENT
from jenkins_release.records.candidate import Candidate, FileRecord, InstallerRecord
from jenkins_release.rules.gate.chain import Chain as Attested
from jenkins_release.rules.gate.evidence import collect
from jenkins_release.rules.gate.policy import Freeze, Policy
from jenkins_release.rules.release.waiting import Wait, overtaken_by, unreadable, waits_for
from tests.fixtures.gate import CANDIDATE, KEYS, NOW, PROMOTER, QA2, STRANGER, Chain, candidate, gate, plan

APPROVED = Policy(approvals=1)
INSTALLER = FileRecord(path="installers/SkyDRM.msi", size=1, sha256="f" * 64)


def with_installer(**more: Any) -> bytes:
    """A candidate with an installer."""
    installers = (InstallerRecord(path=INSTALLER.path, kind="installer"),)
    files = (*Candidate.from_bytes(CANDIDATE, "").files, INSTALLER)
    return candidate(**({"files": files, "installers": installers} | more))


def waits(chain: Chain, policy: Policy | None = None, **more: Any) -> Wait:
    """Ask what the candidate of a chain waits for."""
    policy = policy or Policy()
    evidence = collect(Attested.of(chain.about, chain.files), KEYS, NOW)
    record = Candidate.from_bytes(chain.about, "")
    return waits_for(record, gate(chain, policy), evidence, policy, **more)


class TestBeforeItsRelease:
    def test_qa(self):
        """The command is there to be copied, the details say how many are missing."""
        found = waits(Chain())
        assert found.line == "a sign-off (QA)"
        assert found.command.startswith("jenkins-release qa sign-off 8.1.0/42 ")
        assert (found.state, found.job) == ("waiting", "qa")
        assert found.reasons == (
            "1 passing QA sign-off by trusted keys required for this candidate, found 0",
        )

    def test_qa_with_certain_keys(self):
        """Not everyone of QA helps then."""
        assert waits(Chain(), Policy(sign_off_keys=("robin", "sam"))).who == "QA, with a key of robin or sam"

    def test_a_fail_needs_a_new_build_or_the_same_tester(self):
        """It is a problem, whatever else is missing."""
        found = waits(Chain().verdict("FAILED"), Policy(soak_hours=100))
        assert found.state == "problem"
        assert found.line == "a new build, or a pass by who failed it (the build and QA)"

    def test_what_only_the_build_can_mend(self):
        """Neither QA nor time helps."""
        found = waits(Chain().verdict(), Policy(build_attestation=True, sbom=True))
        assert (found.state, found.who, found.job) == ("problem", "the build", "candidate")
        assert len(found.reasons) == 2

    def test_time(self):
        """Nobody can do anything; the end is named."""
        found = waits(Chain().verdict(), Policy(soak_hours=100))
        assert (found.state, found.who, found.command) == ("resting", "", "")
        assert found.what == "the end of its rest at 2026-11-21 22:00 UTC"
        freeze = Freeze(NOW - timedelta(days=1), NOW + timedelta(days=1), "year end")
        frozen = waits(Chain().verdict(), Policy(freezes=(freeze,)))
        assert frozen.line == "the end of the freeze"
        assert "year end" in frozen.reasons[0]

    def test_a_person_comes_before_time(self):
        """QA can work while it rests."""
        assert waits(Chain(), Policy(soak_hours=100)).job == "qa"

    def test_a_plan_then_its_approval_then_the_promotion(self):
        """One after the other."""
        chain = Chain().verdict()
        assert waits(chain, APPROVED).line == "a plan, and its approval (release management)"
        asked = chain.request(plan(APPROVED), signer=PROMOTER)
        assert waits(asked, APPROVED).who == "release management", (
            "a request by no request key asks for nothing"
        )
        chain = Chain().verdict().approve(plan(APPROVED))
        assert waits(chain, Policy(approvals=2)).line == (
            "approval (everyone with an approval key, but no one who asked for it or built it or tested it)"
        )
        named = Policy(approvals=2, approvers=("group:leads",), groups={"leads": ("Ada", "Bo")}, separate=())
        assert waits(chain, named).who == "Ada or Bo"
        found = waits(chain, APPROVED)
        assert (found.what, found.who, found.job) == ("promotion", "release management", "promote")
        assert found.command == "jenkins-release promote run 8.1.0/42"

    def test_a_candidate_of_installers_alone_waits_for_publication(self):
        """It has nothing to promote."""
        alone = with_installer(images=(), files=(INSTALLER,))
        found = waits(Chain(alone).verdict())
        assert (found.what, found.command) == ("publication", "jenkins-release release publish 8.1.0/42")

    def test_an_override_is_told_with_its_limit(self):
        """Whether it counts shows only with a plan."""
        found = waits(Chain().override(plan(), "sign-offs"))
        assert found.job == "qa"
        assert found.reasons[-1].startswith("an override by Casey is signed (0001-x.dsse.json)")


class TestProblems:
    def test_altered(self):
        """Nothing else counts then."""
        chain = Chain().verdict().promoted()
        del chain.files["0001-x.dsse.json"]
        found = waits(chain)
        assert (found.state, found.who) == ("problem", "release management")
        assert found.command == "jenkins-release candidate verify 8.1.0/42"
        assert "was removed" in found.reasons[0]

    def test_unreadable(self):
        """There is no record to ask."""
        found = unreadable("8.1.0/42", "candidate.json is not JSON")
        assert (found.state, found.reasons) == ("problem", ("candidate.json is not JSON",))
        assert found.command == "jenkins-release release history 8.1.0"

    def test_an_unknown_key(self):
        """A stranger's fail speaks against it."""
        found = waits(Chain().verdict().verdict("FAILED", signer=STRANGER))
        assert (found.state, found.what) == ("problem", "a look at what an unknown key signed")


class TestAfterItsRelease:
    def test_nothing(self):
        """Without anything configured behind the promotion."""
        assert waits(Chain().verdict().promoted()).line == "released"

    def test_a_release_waits_for_no_sign_off(self):
        """A policy that asks for more since does not bring a release back to QA."""
        assert waits(Chain().verdict().promoted(), Policy(sign_offs=2)).state == "done"

    @pytest.mark.parametrize(
        ("due", "what"),
        [
            (("publish", "portal", "saas"), "publication of its installers"),
            (("portal", "saas"), "the SaaS stack"),
            ((), "released"),
        ],
    )
    def test_what_follows(self, due: Any, what: str):
        """In this order; an upload to the portal needs the publication."""
        assert waits(Chain(with_installer()).verdict().promoted(), due=due).what == what

    def test_what_is_published_can_be_uploaded(self):
        """The publication itself is no longer due."""
        chain = Chain(with_installer()).verdict().promoted().add(PUBLICATION, PROMOTER)
        found = waits(chain, due=("publish", "portal"))
        assert found.command == "jenkins-release release portal 8.1.0"

    def test_withdrawn_and_retired_wait_for_nothing(self):
        """Until they are released again."""
        withdrawn = Chain().verdict().promoted().withdraw()
        found = waits(withdrawn, due=("saas",))
        assert (found.state, found.what) == ("done", "withdrawn")
        assert found.reasons == ("Dana withdrew this release: breaks logins",)
        assert waits(withdrawn.promoted()).what == "released"
        assert waits(Chain().verdict().promoted().add(RETIREMENT, PROMOTER)).what == "retired"


class TestOvertaken:
    def test_by_another_build_or_a_newer_version_of_the_line(self):
        """An older line, an older version and the candidate itself do not count."""
        policy = Policy()
        assert overtaken_by("8.1.0/42", ["8.1.0/42"], policy) == ""
        assert overtaken_by("8.1.0/42", ["8.1.0/43"], policy) == "8.1.0/43"
        assert overtaken_by("8.1.0/42", ["8.0.9/9", "8.1.1/50", "8.1.2/60", "9.0.0/1"], policy) == "8.1.2/60"
        assert overtaken_by("8.1.2/42", ["8.1.1/50", "odd/1"], policy) == ""
        assert overtaken_by("odd/1", ["8.1.1/50"], policy) == ""
        assert overtaken_by("8.1.0/42", ["8.1.1/50"], Policy(allow_downgrade=True)) == ""

    def test_it_waits_for_nothing(self):
        """Although QA never looked at it."""
        found = waits(Chain().verdict(signer=QA2), overtaken="8.1.0/43")
        assert (found.state, found.line) == ("done", "8.1.0/43 was released instead")
