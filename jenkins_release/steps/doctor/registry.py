"""Checks of AWS: who this machine is there, the registry, and its rights, without changing anything.

What only reads is tried. AWS has no dry run for the rest of a push, so IAM is asked what the principal may
do; few principals may ask that.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from jenkins_release.aws.identity import Caller, Identity
from jenkins_release.base.checks import Examination, Found
from jenkins_release.base.clocks import compared
from jenkins_release.base.errors import ReleaseError, RemoteError
from jenkins_release.base.regions import partition_of
from jenkins_release.registry.protocol import RepositoryNotFound
from jenkins_release.steps.context.services import Services

PUSH_ACTIONS = (
    "ecr:InitiateLayerUpload",
    "ecr:UploadLayerPart",
    "ecr:CompleteLayerUpload",
    "ecr:GetDownloadUrlForLayer",
    "ecr:PutImage",
    "ecr:BatchDeleteImage",
)
"""What every promotion does besides reading, see docs/devops.md."""
_NOTHING = "sha256:" + 64 * "0"
"""A layer that no repository has."""
_NO_TAG = "jenkins-release-doctor"
"""A tag that no image has."""
_POLICY = "docs/devops.md has the policy of the principal"


def examine_registry(examination: Examination, services: Services, *, push: bool) -> None:
    """Check identity, registry and repositories.

    Args:
        examination: Where.
        services: Configuration, AWS.
        push: Whether this machine pushes.
    """
    configuration = services.configuration
    if not configuration.images:
        examination.skip("aws", "not needed: the product has no images")
        return
    identity = services.closed_at_end(Identity(configuration.ecr.region, services.now, services.limits))
    callers: list[Caller] = []
    examination.check("aws: identity", partial(_identity, services, identity, callers))
    if identity.there is not None and identity.here is not None:
        there, here = identity.there, identity.here
        examination.check("aws: clock", lambda: compared("AWS", there, here))
    else:
        examination.check("aws: clock", lambda: Found("AWS does not tell the time"), "aws: identity")
    examination.check("ecr: registry", partial(_registry, services), "aws: identity")
    present = []
    for name in dict.fromkeys(image.repository for image in configuration.images):
        check = f"ecr: {name}"
        if examination.check(check, partial(_repository, services, name), "ecr: registry"):
            present.append(name)
    if push:
        names = [image.repository for image in configuration.images]
        examination.check(
            "ecr: rights to push",
            lambda: _push(services, callers[0], names),
            "aws: identity",
            "ecr: registry",
        )


def _identity(services: Services, identity: Identity, callers: list[Caller]) -> Found:
    caller = identity.caller()
    callers.append(caller)
    owner = services.configuration.ecr.account
    if caller.account == owner:
        return Found(caller.arn)
    return Found(
        f"{caller.arn}; the registry is that of account {owner}",
        "if that is not meant, use credentials of this account, or correct ecr.account",
    )


def _registry(services: Services) -> Found:
    login = services.registry.login()
    return Found(f"{login.registry} in {services.configuration.ecr.region} gives a token")


def _repository(services: Services, name: str) -> Found:
    """Try everything that reads."""
    registry, section = services.registry, services.configuration.ecr
    try:
        repository = registry.repository(name)
    except RepositoryNotFound as error:
        if section.create_repositories:
            return Found(f"is not there yet: the first promotion creates it in {section.region}")
        raise RemoteError(
            f"there is no repository {name} in {section.region} of account {section.account}",
            hint="create it, correct ecr.region and ecr.account, or set ecr.create_repositories = true",
        ) from error
    tags = registry.tags(name)
    registry.images(name, [_NO_TAG])
    registry.missing_layers(name, [_NOTHING])
    tagged = f"{len(tags)} tag{'' if len(tags) == 1 else 's'}"
    return Found(f"may be read; {tagged}, {repository.mutability}")


def _actions(services: Services) -> list[str]:
    """Return what a promotion with this configuration does besides reading."""
    configuration = services.configuration
    section = configuration.ecr
    found = list(PUSH_ACTIONS)
    if configuration.policy.scan:
        found.append("ecr:DescribeImageScanFindings")
    if section.create_repositories:
        found.append("ecr:CreateRepository")
        found += ["ecr:TagResource"] if section.repository_tags else []
        found += ["ecr:PutImageTagMutability"] if section.moving_tags else []
    return found


def _push(services: Services, caller: Caller, names: Sequence[str]) -> Found:
    section = services.configuration.ecr
    partition = partition_of(section.region)
    arn = f"arn:{partition}:ecr:{section.region}:{section.account}:repository/"
    refused: list[str] = []
    actions = _actions(services)
    try:
        for name in dict.fromkeys(names):
            missing = services.iam.refused(caller.principal, actions, f"{arn}{name}")
            refused += [f"{action} on {name}" for action in missing]
    except ReleaseError as error:
        return Found(
            f"could not be checked: {error.message}",
            "nothing that only reads shows them: 'promote run' finds out. To check them here, allow "
            f"iam:SimulatePrincipalPolicy; {_POLICY}",
        )
    if refused:
        raise RemoteError(f"{caller.principal} may not {', '.join(refused)}", hint=_POLICY)
    return Found("allowed by the policies of this principal")
