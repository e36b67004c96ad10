"""The name in which a key signs, checked before anything is signed."""

from __future__ import annotations

from jenkins_release.base.errors import ConfigurationError, GateRefused
from jenkins_release.base.people import names_someone
from jenkins_release.base.signing import Signer
from jenkins_release.steps.candidate.attest import named, trusted_key
from jenkins_release.steps.context.services import Services


def speaker(what: str, given: str, role: str, signer: Signer, services: Services) -> str:
    """Return the name in which a statement is signed, checked against the key.

    Args:
        what: What the person is, and the option that names them: ``approver``, ``tester``, ``by``.
        given: The given name. It may be empty if the key has an owner.
        role: What is said: ``qa``, ``approval`` or ``override``.
        signer: The key.
        services: The policy and the trusted keys.

    Returns:
        The given name, or the owner's.

    Raises:
        ConfigurationError: There is no name, or it cannot be recorded.
        GateRefused: The key does not speak for that person; nothing was signed.
    """
    key = trusted_key(signer, services)
    name = named(what, given or key.owner)
    if not names_someone(name):
        raise ConfigurationError(
            f"the {what} is {name!r}, which is no one's name",
            hint=f"give --{what} the user id of a person; in a job, the submitterParameter of its input",
        )
    problem = services.policy.voice_problem(key, name, role)
    if problem:
        raise GateRefused(
            f"nothing is signed in the name of {name}: {problem}",
            hint=f"sign with a key whose owner is {name}, or leave out --{what} to sign as the key's owner",
            reasons=[problem],
        )
    return name
