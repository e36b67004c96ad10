"""What a candidate's attestations say about it as a release: what was promoted and published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.oci.manifests import is_digest
from jenkins_release.records.attestation import PROVENANCE
from jenkins_release.records.candidate import Candidate
from jenkins_release.records.release import Promotion, Publication
from jenkins_release.records.summary import Input, summary_predicate, summary_subjects
from jenkins_release.rules.gate.conditions import Verdict
from jenkins_release.rules.gate.evidence import Counted, Evidence


@dataclass(frozen=True)
class AttestedRelease:
    """What a candidate's attestations say about it as a release.

    Attributes:
        record: The candidate.
        evidence: Its attestations, sorted out.
        verdicts: Latest verdict of each tester.
        promotion: The last promotion that counts.
        promoted: What it left in the registry; None if there is no readable one.
        publication: The last publication that counts.
        published: What it left in the release area; None if there is no readable one.
        approvals: The approvals that promotion and publication name, by trusted keys.
        summary: The verification summary, if one that counts ends the chain.
        summary_sha256: SHA-256 in hex of that summary's envelope; empty if there is none.
        inputs: Every attestation except the summary.
        problems: Why the release is not validated and in force, apart from the summary.
    """

    record: Candidate
    evidence: Evidence
    verdicts: tuple[Verdict, ...]
    promotion: Counted | None
    promoted: Promotion | None
    publication: Counted | None
    published: Publication | None
    approvals: tuple[Counted, ...]
    summary: Counted | None
    summary_sha256: str
    inputs: tuple[Input, ...]
    problems: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Digest of ``candidate.json``."""
        return self.evidence.digest

    @property
    def released_by(self) -> Counted | None:
        """What made it a release: the promotion, or the publication of a candidate without images."""
        return self.promotion if self.record.images else self.publication

    @property
    def subjects(self) -> Mapping[str, str] | None:
        """What a summary is about besides ``candidate.json``; None if nothing was released."""
        if self.record.images:
            return summary_subjects(self.promoted) if self.promoted else None
        return self.published.subjects if self.published else None

    @property
    def attested(self) -> Counted | None:
        """The build attestation, if one counts."""
        return next(iter(self.evidence.of(PROVENANCE)), None)

    @property
    def passes(self) -> tuple[Verdict, ...]:
        """The passing verdicts."""
        return tuple(verdict for verdict in self.verdicts if verdict.passed)

    @property
    def overridden(self) -> tuple[str, ...]:
        """Conditions that the promotion and the publication passed by a signed override."""
        items = []
        for made in (self.promotion, self.publication):
            found = made.statement.predicate.get("overridden") if made else None
            items += found if isinstance(found, list) else []
        lines = (
            f"{item.get('condition')}: {item.get('message')} -- overridden by {item.get('by')}"
            for item in items
            if isinstance(item, dict)
        )
        return tuple(dict.fromkeys(lines))

    def superseding(self) -> AttestedRelease:
        """Return the release as a new summary must describe it: an older summary is an input too."""
        if self.summary is None:
            return self
        said = self.summary.statement
        given = Input(said.sequence, said.predicate_type, self.summary_sha256)
        return replace(self, summary=None, inputs=(*self.inputs, given))

    def expected_summary(self, *, passed: bool) -> dict[str, Any]:
        """Return the expected predicate of the summary, without ``timeVerified``.

        Raises:
            IntegrityError: There is no promotion or publication to summarise.
        """
        policy = self.released_by.statement.predicate.get("policy") if self.released_by else None
        if not isinstance(policy, str):
            raise IntegrityError("no promotion or publication by a trusted promotion key names the policy")
        attested = self.attested is not None
        return summary_predicate(self.record, policy, self.inputs, passed=passed, attested=attested)


def read_promotion(promotion: Counted | None, record: Candidate) -> tuple[Promotion | None, list[str]]:
    """Read the promotion, and compare the images that it names with the candidate's."""
    if promotion is None:
        return None, ["no promotion by a trusted promotion key"]
    said = promotion.statement
    try:
        promoted = Promotion.of(said, promotion.file)
    except IntegrityError as error:
        return None, [error.message]
    problems = []
    if sorted((i.name, i.identity) for i in promoted.images) != sorted(
        (i.name, i.identity) for i in record.images
    ):
        problems.append(f"{promotion.file}: the promotion names other images than candidate.json")
    fixed = {image.name: image.fixed_digest for image in record.images if image.fixed_digest}
    problems += [
        f"{promotion.file}: the promotion names {image.repository}@{image.digest}, candidate.json fixes the "
        f"manifest {fixed[image.name]}"
        for image in promoted.images
        if image.digest != fixed.get(image.name, image.digest)
    ]
    subjects = summary_subjects(promoted)
    if any(said.subjects.get(name) != digest for name, digest in subjects.items() if "#" not in name):
        problems.append(f"{promotion.file}: the promotion's subjects are not the images that it names")
    if not _names_policy(promotion):
        return None, [*problems, f"{promotion.file}: the promotion names no policy"]
    return promoted, problems


def read_publication(publication: Counted | None, record: Candidate) -> tuple[Publication | None, list[str]]:
    """Read the publication, and compare the files that it names with the candidate's."""
    if publication is None:
        return None, []
    said = publication.statement
    try:
        published = Publication.of(said, publication.file)
    except IntegrityError as error:
        return None, [error.message]
    problems = []
    known = {("installer", each.name, record.file(each.path).sha256) for each in record.installers}
    known |= {(each.kind, each.path, record.file(each.path).sha256) for each in record.documents}
    named = {
        (file.kind, file.path.rpartition("/")[2] if file.kind == "installer" else file.path, file.sha256)
        for file in published.files
        if file.kind != "setup"
    }
    # A setup zip may have been made after the promotion: the publication alone vouches for it.
    if not named <= known:
        problems.append(f"{publication.file}: the publication names other files than candidate.json")
    if any(said.subjects.get(name) != digest for name, digest in published.subjects.items()):
        problems.append(f"{publication.file}: the publication's subjects are not the files that it names")
    if not _names_policy(publication):
        return None, [*problems, f"{publication.file}: the publication names no policy"]
    return published, problems


def _names_policy(made: Counted) -> bool:
    policy = made.statement.predicate.get("policy")
    return isinstance(policy, str) and is_digest(policy)
