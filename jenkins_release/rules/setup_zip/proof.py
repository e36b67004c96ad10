"""Whether a setup zip is genuine, judged only by its bytes and trusted keys.

The proof: each image that it names by digest belongs to a release that its attestations show to be validated
and in force, and the promotion key attested every file that runs or decides what runs. Scripts of the same
version of this program are also compared with its own, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.version import PROGRAM
from jenkins_release.records.attestation import (
    APPROVAL,
    PUBLICATION,
    REFRESH,
    SETUP,
    SUMMARY,
    TrustedKey,
)
from jenkins_release.records.bundle import Bundle, read_bundle, write_bundle
from jenkins_release.records.setup import (
    ATTESTATIONS,
    COMPOSE,
    RECORD,
    RELEASE,
    SUMS,
    SetupBundle,
    setup_checksum_lines,
)
from jenkins_release.records.setup_zip import Member, read_zip, write_zip
from jenkins_release.rules.gate.attested_release import AttestedRelease
from jenkins_release.rules.gate.authority import Authority
from jenkins_release.rules.gate.chain import Chain
from jenkins_release.rules.gate.evidence import Counted
from jenkins_release.rules.release.consumer import judge, judge_under
from jenkins_release.rules.setup_zip.files import (
    README,
    SetupClaim,
    compose_problems,
    image_words,
    is_program,
    release_tags,
    setup_claim,
)

NOT_ATTESTED = "no attestation by a trusted promotion key names its files"
_HARMLESS = {SUMMARY, SETUP, PUBLICATION, APPROVAL, REFRESH}
"""What may follow a summary without casting doubt on its images."""
_HINT = "do not use it or pass it on: build it again with 'jenkins-release bundle build'"


@dataclass(frozen=True)
class SetupProof:
    """What was proven about a setup zip.

    Attributes:
        bundle: Its record.
        release: The release that its attestations prove.
        sha256: SHA-256 of the zip in hex.
        size: Its bytes.
        scripts_compared: Whether the scripts are those of this program; not compared if another version wrote
            the zip.
        attested: The attestation of its files.
    """

    bundle: SetupBundle
    release: AttestedRelease
    sha256: str
    size: int
    scripts_compared: bool
    attested: Counted


def setup_attestation(release: AttestedRelease) -> Counted | None:
    """Return the last counted attestation of a setup zip's files."""
    return next(reversed(release.evidence.of(SETUP)), None)


def attests(said: Counted | None, claim: SetupClaim) -> bool:
    """Whether an attestation says exactly what is claimed about a setup zip."""
    return said is not None and not _attestation_problems(said, claim)


def first_proof(
    chain: Chain,
    release: AttestedRelease,
    claim: SetupClaim,
    trusted: Sequence[TrustedKey],
    now: datetime,
) -> bytes | None:
    """Return the oldest attestation bundle that proves a setup zip, so that every build has the same one.

    A publication or a refresh of the SaaS stack adds an attestation, and later bundles have a summary that
    covers it; a setup zip keeps the earlier bundle. After a verdict, a revocation, a withdrawal or another
    promotion, it does not.

    Args:
        chain: The candidate and its attestations.
        release: What they all say; validated and in force.
        claim: What has to be attested about the files of the setup zip.
        trusted: Keys that are believed.
        now: The time, UTC.
    """
    documents = sorted(chain.documents, key=lambda document: document.file)
    kinds = [document.statement.predicate_type for document in documents]
    last = max((place for place, kind in enumerate(kinds) if kind not in _HARMLESS), default=-1)
    for place in range(last + 1, len(documents)):
        if kinds[place] != SUMMARY:
            continue
        data = write_bundle(chain.candidate, [document.data for document in documents[: place + 1]])
        found, reasons = judge(read_bundle(data, "the attestations"), trusted, now)
        if reasons or found is None or found.promoted != release.promoted:
            continue
        if attests(setup_attestation(found), claim):
            return data
    return None


def prove_setup_zip(
    data: bytes,
    where: str,
    trusted: Sequence[TrustedKey],
    now: datetime,
    *,
    scripts: Mapping[str, Member],
    authorities: Sequence[Authority] = (),
) -> SetupProof:
    """Prove a setup zip.

    Args:
        data: The bytes of the zip.
        where: Which file it is, for messages.
        trusted: Keys that are believed.
        now: The time, UTC.
        scripts: The scripts of this version of the program, by path.
        authorities: The trusted versions of the trust document: if given, their keys and policy decide.

    Raises:
        IntegrityError: It is not proven; ``reasons`` has every finding.
    """
    folder, members = read_zip(data, where)
    if RECORD not in members or ATTESTATIONS not in members:
        lacking = " and ".join(name for name in (RECORD, ATTESTATIONS) if name not in members)
        raise IntegrityError(f"{where} is not a setup zip: it has no {lacking}", hint=_HINT)
    bundle = SetupBundle.from_bytes(members[RECORD].data, f"{RECORD} of {where}")
    evidence = read_bundle(members[ATTESTATIONS].data, f"{ATTESTATIONS} of {where}")
    release, reasons = _judged(evidence, trusted, authorities, now)
    found = [*_file_problems(folder, bundle, members), *reasons]
    if not found and write_zip(folder, members, bundle.promoted_at) != data:
        found.append("its files are right, but it is not the zip that 'bundle build' makes from them")
    compared = bundle.writer == PROGRAM
    if compared:
        found += _script_problems(members, scripts)
    attested = None if release is None else setup_attestation(release)
    if release is not None:
        found += _release_problems(bundle, release, members)
        claim = setup_claim(folder, bundle.writer, members)
        found += [NOT_ATTESTED] if attested is None else _attestation_problems(attested, claim)
    if found or release is None or attested is None:
        raise IntegrityError(f"{where} cannot be proven: {found[0]}", hint=_HINT, reasons=found)
    return SetupProof(bundle, release, sha256(data).hexdigest(), len(data), compared, attested)


def _judged(
    evidence: Bundle, trusted: Sequence[TrustedKey], authorities: Sequence[Authority], now: datetime
) -> tuple[AttestedRelease | None, tuple[str, ...]]:
    if not authorities:
        return judge(evidence, trusted, now)
    found = judge_under(evidence, authorities, now)
    return found.release, (*found.problems, *found.refused)


def _attestation_problems(said: Counted, claim: SetupClaim) -> list[str]:
    """Say how a claim differs from an attestation, including its subjects."""
    named = {path: digest for path, digest in said.statement.subjects.items() if path != "candidate.json"}
    problems = [
        f"{path} is missing, which {said.file} attests" for path in sorted(named.keys() - claim.subjects)
    ]
    for path, digest in sorted(claim.subjects.items()):
        if path not in named:
            problems.append(f"{path} is in no attestation: {said.file} does not name it")
        elif named[path] != digest:
            problems.append(
                f"{path} is not the file that {said.file} attests: sha256 {digest}, not {named[path]}"
            )
    problems += [
        f"{RECORD} says {name} {value}, {said.file} attests {said.statement.predicate.get(name)}"
        for name, value in claim.predicate.items()
        if said.statement.predicate.get(name) != value
    ]
    return problems


def _file_problems(folder: str, bundle: SetupBundle, members: Mapping[str, Member]) -> list[str]:
    problems = []
    if folder != bundle.folder:
        problems.append(f"it unpacks to {folder}, expected {bundle.folder}")
    recorded = {file.path: file for file in bundle.files}
    here = set(members) - {RECORD, SUMS}
    problems += [f"{path} is missing" for path in sorted(set(recorded) - here)]
    problems += [f"{path} is not in {RECORD}" for path in sorted(here - set(recorded))]
    for path in sorted(here & set(recorded)):
        digest = sha256(members[path].data).hexdigest()
        if (digest, len(members[path].data)) != (recorded[path].sha256, recorded[path].size):
            problems.append(f"{path}: found sha256 {digest}, expected {recorded[path].sha256}")
    problems += [
        f"{path} is {'not ' if is_program(path) else ''}executable"
        for path, member in sorted(members.items())
        if member.executable != is_program(path)
    ]
    sums = members.get(SUMS)
    if sums is None or sums.data != setup_checksum_lines(members[RECORD].data, bundle.files):
        problems.append(f"{SUMS} is missing, or not that of these files")
    return problems


def _script_problems(members: Mapping[str, Member], scripts: Mapping[str, Member]) -> list[str]:
    return [
        f"{path} is not the one from {PROGRAM}, which the zip names"
        for path, member in sorted(scripts.items())
        if path != README and members.get(path) != member
    ]


def _release_problems(
    bundle: SetupBundle, release: AttestedRelease, members: Mapping[str, Member]
) -> list[str]:
    record, promoted = release.record, release.promoted
    problems = []
    said = (bundle.product, bundle.version, bundle.build, bundle.candidate_digest)
    proven = (record.product, record.version, record.build, release.digest)
    if said != proven:
        problems.append(f"{RECORD} is of {' '.join(said)}, the attestations are of {' '.join(proven)}")
    if promoted is None or release.promotion is None:
        return problems
    if bundle.promoted_at != release.promotion.statement.signed_at:
        problems.append(f"{RECORD}: promoted at {bundle.promoted_at}, the attestations say otherwise")
    if [(i.name, i.repository, i.digest) for i in bundle.images] != [
        (i.name, i.repository, i.digest) for i in promoted.images
    ] or bundle.registry != promoted.registry:
        problems.append(f"{RECORD} names other images than the promotion")
    try:
        problems += compose_problems(members[COMPOSE].data.decode(), promoted) if COMPOSE in members else []
        lines = members[RELEASE].data.decode().splitlines() if RELEASE in members else []
    except UnicodeDecodeError:
        return [*problems, f"{COMPOSE} or {RELEASE} is not text"]
    for name, value in (
        ("PRODUCT", record.product),
        ("VERSION", record.version),
        ("REGISTRY", promoted.registry),
        ("IMAGES", image_words(promoted)),
    ):
        if [line for line in lines if line.startswith(f"{name}=")] != [f"{name}='{value}'"]:
            problems.append(f"{RELEASE}: {name} is not that of the release")
    tags = [line for line in lines if line.startswith("RELEASE_TAG=")]
    if tags not in [[f"RELEASE_TAG='{tag}'"] for tag in release_tags(promoted)]:
        problems.append(f"{RELEASE}: RELEASE_TAG is not a tag that the promotion set")
    return problems
