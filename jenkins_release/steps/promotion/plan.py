"""Plan: what promoting a candidate would do, given what the registry holds now."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.tags import fill, may_pin, registry_tags, released_versions
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.notify.protocol import Delivery
from jenkins_release.records.candidate import CandidateImage, MultiPlatformRecord
from jenkins_release.records.identity import identity_of
from jenkins_release.records.plan import ImageState, Plan, PlannedImage, TagNow
from jenkins_release.records.registry_image import StoredImage
from jenkins_release.rules.gate.clearance import described, is_image
from jenkins_release.rules.gate.conditions import Facts
from jenkins_release.rules.gate.decision import Decision
from jenkins_release.rules.gate.policy import policy_digest
from jenkins_release.rules.notices.events import only_approval_is_missing, who_may_approve
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.opened import OpenCandidate, open_candidate
from jenkins_release.steps.context.local_files import write_file
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.notices.announce import Happened, announce
from jenkins_release.steps.promotion.push_size import count_push_bytes
from jenkins_release.steps.promotion.registry_survey import Held, survey


def plan_promotion(ref: CandidateRef, services: Services) -> tuple[Plan, Decision]:
    """Compute what promoting a candidate would do, and what the gate says to it. Changes nothing.

    Raises:
        ConfigurationError: No such candidate, or ``release.toml`` does not name one of its images.
        IntegrityError: The candidate was altered, or a manifest in the registry does not match its digest.
        RemoteError: Share or registry failed, after the retries.
    """
    return plan_candidate(open_candidate(ref, services), services)


def plan_candidate(opened: OpenCandidate, services: Services) -> tuple[Plan, Decision]:
    """Do the same as :func:`plan_promotion` for a candidate that is open already."""
    plan, facts = make_plan(opened, services)
    return plan, opened.decision(facts=facts, plan=plan)


def make_plan(opened: OpenCandidate, services: Services, *, requester: str = "") -> tuple[Plan, Facts]:
    """Compute the plan for an open candidate.

    Args:
        opened: The candidate.
        services: Registry and policy.
        requester: Who asks for the release; ``services.user()`` by default.

    Returns:
        The plan, and the facts about the registry that the gate needs, both from the same look.

    Raises:
        ConfigurationError: ``release.toml`` does not name one of the images.
        IntegrityError: A manifest in the registry does not match its digest.
        RemoteError: Share or registry failed, after the retries.
    """
    version = ReleaseVersion.parse(opened.ref.version)
    section = services.configuration.ecr
    tags = dict.fromkeys(registry_tags(section.tags, version, opened.ref.build), False)
    moving = registry_tags(section.moving_tags, version, opened.ref.build)
    names = [_repository_name(image, services) for image in opened.record.images]
    # The first use asks ECR. The threads of the survey must not all do that at once.
    host = services.retry("ask ECR for the registry", lambda: services.registry.host) if names else ""
    held = survey(names, list(dict.fromkeys([candidate_tag(opened), *tags, *moving])), services)
    tags_there = sorted({tag for each in held.values() for tag in each.tags})
    released = released_versions(section.tags, tags_there)
    for template in section.moving_tags:
        (tag,) = registry_tags([template], version, opened.ref.build)
        # A patch of an older line does not take `latest` back from the newer one.
        ahead = [v for v in released if v > version and fill(template, v, opened.ref.build) == tag]
        if tag not in tags and not ahead:
            tags[tag] = True
    occupied: list[str] = []
    obstacles: list[str] = []
    images = [
        _planned(image, opened, tags, held[name], services, occupied, obstacles)
        for name, image in zip(names, opened.record.images, strict=True)
    ]
    plan = Plan(
        product=opened.record.product,
        version=opened.ref.version,
        build=opened.ref.build,
        candidate=opened.digest,
        policy=policy_digest(services.policy, services.trusted_keys),
        requester=requester or services.user(),
        registry=host,
        images=count_push_bytes(images, opened.record.images, services),
        installers=tuple(installer.path for installer in opened.record.installers),
        release_area=_release_area(opened, services),
        occupied=tuple(occupied),
        obstacles=tuple(obstacles),
    )
    return plan, _facts(plan, tags_there, services)


def _release_area(opened: OpenCandidate, services: Services) -> str:
    """Return the folder that the installers will be in, without asking the share; empty for none."""
    if not opened.record.installers or not services.configuration.share.releases:
        return ""
    return services.releases.shown(opened.ref.version)


def _facts(plan: Plan, tags: Sequence[str], services: Services) -> Facts:
    pins = _pins(plan, [tag for tag in tags if may_pin(tag, plan.version, plan.build)], services)
    released = {*released_versions(services.configuration.ecr.tags, tags)}
    if plan.release_area:
        released |= _published(services)
    return Facts(services.now(), tuple(sorted(released)), pins=pins)


def _pins(plan: Plan, tags: Sequence[str], services: Services) -> tuple[str, ...]:
    """Return those of the tags that pin an image of exactly this candidate."""
    found = set()
    for image in plan.images if tags else ():
        if not image.repository_exists:
            continue
        stored = services.retry(f"read {image.repository}", services.registry.images, image.repository, tags)
        found |= {tag for tag, each in stored.items() if image.is_named_by(_tag_now(tag, False, each))}
    return tuple(sorted(found))


def _published(services: Services) -> set[ReleaseVersion]:
    found = set()
    for name in services.retry("list the published releases", services.releases.versions):
        with contextlib.suppress(ConfigurationError):
            found.add(ReleaseVersion.parse(name))
    return found


def require_free_way(plan: Plan, so_far: str) -> None:
    """Refuse a plan that cannot be carried out in the current state of the registry.

    Args:
        plan: The current plan.
        so_far: For the message: what was not done, such as ``nothing was pushed``.

    Raises:
        IntegrityError: A release tag names other content.
        ConfigurationError: The configuration or the repositories do not allow it.
    """
    if plan.occupied:
        raise IntegrityError(
            f"a release tag is taken by other content: {plan.occupied[0]}",
            hint=f"a released version never changes: promote under a new version; {so_far}",
            reasons=[*plan.occupied, *plan.obstacles],
        )
    if plan.obstacles:
        raise ConfigurationError(
            f"the promotion cannot run: {plan.obstacles[0]}",
            hint=so_far,
            reasons=plan.obstacles,
        )


def write_plan(plan: Plan, path: Path) -> None:
    """Write a plan in its canonical form, for approval.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    write_file(path, plan.to_bytes(), "the plan")


def ask_for_approval(plan: Plan, decision: Decision, services: Services) -> tuple[Delivery, ...]:
    """Notify people that a plan waits for approval, if nothing but the approval is missing.

    Every call sends the notifications again: whoever writes a plan for approval wants it approved now.

    Args:
        plan: The plan, as it was written for approval.
        decision: What the gate says to it.
        services: The notifiers.

    Returns:
        The outcome of each notification. Raises nothing.
    """
    waits = only_approval_is_missing(plan, decision)
    return announce(lambda: _waiting(plan, decision, services) if waits else None, services)


def candidate_tag(opened: OpenCandidate) -> str:
    """Return the temporary tag of exactly this candidate, from its name and the beginning of its digest."""
    # A tag has at most 128 characters: cut before the digest, as in the tags that pin withdrawn images.
    head = f"candidate-{opened.ref.version}-{opened.ref.build}"[:115]
    return f"{head}-{opened.digest[7:19]}"


def _planned(
    image: CandidateImage,
    opened: OpenCandidate,
    tags: dict[str, bool],
    held: Held,
    services: Services,
    occupied: list[str],
    obstacles: list[str],
) -> PlannedImage:
    name = _repository_name(image, services)
    temporary = candidate_tag(opened)
    repository, stored = held.repository, held.images
    if repository is None and not _managed(services):
        obstacles.append(
            f"the repository {name} does not exist in {services.registry.host}: create it, "
            "or set ecr.create_repositories = true"
        )
    for tag, moving in tags.items():
        found = stored.get(tag)
        if found is None or is_image(found, image):
            continue
        if not moving:
            occupied.append(
                f"tag {tag} in {name} names {described(found)}, the candidate's image {image.name} has "
                + _identified(image)
            )
        elif repository is not None and not repository.can_allow_moving(tag):
            obstacles.append(
                f"the moving tag {tag} in {name} cannot be moved: the repository is {repository.mutability}, "
                "and a filter makes this tag immutable; take it out of the filters"
            )
        elif repository is not None and repository.is_immutable(tag) and not _managed(services):
            obstacles.append(
                f"the moving tag {tag} in {name} cannot be moved: the repository is {repository.mutability}; "
                "exclude the tag there, or let this tool do it with ecr.create_repositories = true"
            )
    # A release tag's manifest takes precedence over the temporary tag's: customers may have pulled it.
    right = [stored[tag] for tag in [*tags, temporary] if tag in stored and is_image(stored[tag], image)]
    released = all(tag in stored and is_image(stored[tag], image) for tag in tags)
    state: ImageState = "released" if released else "pushed" if right else "absent"
    return PlannedImage(
        name=image.name,
        **identity_of(image),
        repository=name,
        repository_exists=repository is not None,
        candidate_tag=temporary,
        candidate_tag_set=temporary in stored,
        state=state,
        digest=right[0].digest if right else None,
        tags=tuple(_tag_now(tag, moving, stored.get(tag)) for tag, moving in tags.items()),
        push_bytes=0 if right else image.size,
    )


def _identified(image: CandidateImage) -> str:
    if isinstance(image, MultiPlatformRecord):
        return f"the index {image.index.digest}"
    fixed = f" and the manifest {image.fixed_digest}" if image.fixed_digest else ""
    return f"config {image.config_digest}{fixed}"


def _managed(services: Services) -> bool:
    """Whether the configuration lets this tool create and set up repositories."""
    return services.configuration.ecr.create_repositories


def _tag_now(tag: str, moving: bool, found: StoredImage | None) -> TagNow:
    if found is None:
        return TagNow(tag=tag, moving=moving)
    return TagNow(tag=tag, moving=moving, digest=found.digest, config_digest=found.config_digest)


def _repository_name(image: CandidateImage, services: Services) -> str:
    for section in services.configuration.images:
        if section.name == image.name:
            return section.repository
    raise ConfigurationError(
        f"the candidate holds the image {image.name}, for which release.toml names no repository",
        hint="add an [[images]] entry with this name: every image of a candidate is promoted",
    )


def _waiting(plan: Plan, decision: Decision, services: Services) -> Happened:
    """A plan lacks only its approval: it is an approver's turn."""
    return Happened(
        "waiting",
        plan.version,
        plan.build,
        by=plan.requester,
        location=plan.registry or plan.release_area,
        facts=[
            ("plan", plan.digest),
            ("installers", str(len(plan.installers) or "")),
            ("candidate.json", plan.candidate),
            *(("missing", reason.message) for reason in decision.unmet),
            ("who may approve", who_may_approve(plan, decision, services.policy)),
        ],
        next_step="An approver looks at exactly this plan and approves it, in the Jenkins build or by hand:",
        command="jenkins-release promote approve plan.json --approver NAME --reason WHY",
    )
