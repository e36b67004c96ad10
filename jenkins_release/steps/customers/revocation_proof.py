"""The proof of a revocation: how AWS answers a user's keys once the access has ended."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from jenkins_release.base.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.config import CUSTOMER_KEY_ID
from jenkins_release.rules.customers import users as tag
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.customers.access import (
    await_key,
    iam_place,
    key_access,
    name_lost_key,
    new_key,
    own_credentials,
    settle_keys,
)

if TYPE_CHECKING:
    from jenkins_release.aws.iam import AccessKey, Credentials, IamUser
    from jenkins_release.registry.key_access import KeyAccess

_log = logging.getLogger(__name__)


class OwnKey:
    """The customer's own key, tried before and after the access ends."""

    def __init__(self, credentials: Credentials, services: Services) -> None:
        self._credentials = credentials
        self._services = services
        self._access = key_access(credentials, services)
        self._logged_in = False

    @classmethod
    def at_hand(cls, user: str, services: Services) -> OwnKey | None:
        """Return the key that the environment names, None if it names none.

        Raises:
            ConfigurationError: It belongs to someone else, so what it may do proves nothing.
        """
        found = own_credentials(services)
        if found is None:
            return None
        if found.key_id not in {key.key_id for key in services.iam.keys(user)}:
            raise ConfigurationError(
                f"{CUSTOMER_KEY_ID} names {found.key_id}, which is not a key of {user}: nothing was changed",
                hint="set it to the customer's key, or leave it out",
            )
        return cls(found, services)

    def log_in(self) -> None:
        """Get a token while the key still can: it outlives the key."""
        try:
            self._logged_in = self._access.token().verdict == "allowed"
        except ReleaseError as error:
            _log.warning("no token from before the revocation: %s", error.message)

    def refused(self) -> list[str]:
        """See the key refused, and real pulls with the token from before."""
        shown = f"the key {self._credentials.key_id}"
        proof = _refused(self._access, self._services, lambda verdict: verdict != "allowed", shown)
        if self._logged_in:
            for name in iam_place(self._services).scope.repositories:
                proof.append(self._pull_refused(name))
        return proof

    def _pull_refused(self, repository: str) -> str:
        reference = _some_tag(repository, self._services)
        what, shown = f"pull of {repository}:{reference}", "a token from before"

        def attempt() -> str:
            tried = self._access.fetch(repository, reference)
            if tried.verdict != "denied":
                raise _still(what, shown, tried.verdict)
            return (
                f"pull of {repository}:{reference} with a token from before: {tried.verdict} ({tried.action})"
            )

        return self._services.retry(f"see a pull of {repository} refused", attempt)


def _some_tag(repository: str, services: Services) -> str:
    """Return an existing tag, so that only the revocation can refuse its pull."""
    try:
        tags = services.retry(f"list the tags of {repository}", services.registry.tags, repository)
    except ReleaseError as error:
        _log.warning("%s", error.message)
        tags = []
    return min(tags, default="latest")


def probe(user: IamUser, present: list[str], services: Services) -> list[str]:
    """Make a key of the same user, see it refused by the deny, and delete it."""
    services.iam.tag(user.name, {tag.PROBE: " ".join(present) or "none"})
    credentials: Credentials | None = None

    def create() -> Credentials:
        _remove_unknown(user, present, services)  # where the answer to an earlier attempt was lost
        return new_key(user.name, present, services)

    try:
        try:
            credentials = services.retry(f"create a key of {user.name} to try with", create)
        except RemoteError as error:
            if error.retryable:
                with contextlib.suppress(ReleaseError):
                    _remove_unknown(user, present, services)
                name_lost_key(error)
            raise
        await_key(user.name, credentials.key_id, services)
        _remove_unknown(user, [*present, credentials.key_id], services)
        # "unknown key" is also the answer for a key that is too new: only a denial is a proof.
        access = key_access(credentials, services)
        return _refused(access, services, lambda verdict: verdict == "denied", "a key made for this")
    finally:
        if credentials is not None:
            services.iam.delete_key(user.name, credentials.key_id)
            settle_keys(user.name, {credentials.key_id: None}, services)
            services.iam.untag(user.name, [tag.PROBE])


def remove_probes(user: IamUser, services: Services) -> None:
    """Delete a key that a revocation made to try with, and died before it was deleted."""
    if user.tags.get(tag.PROBE):
        _remove_unknown(user, user.tags[tag.PROBE].split(), services)
        services.iam.untag(user.name, [tag.PROBE])


def keys_without_probe(user: IamUser, services: Services) -> list[AccessKey]:
    """Return the keys of a user, but none that :func:`remove_probes` would delete."""
    found = services.iam.keys(user.name)
    known = user.tags.get(tag.PROBE)
    return [key for key in found if not known or key.key_id in known.split()]


def _remove_unknown(user: IamUser, known: list[str], services: Services) -> None:
    for key in services.iam.keys(user.name):
        if key.key_id not in known:
            services.iam.delete_key(user.name, key.key_id)


def _refused(access: KeyAccess, services: Services, enough: Callable[[str], bool], shown: str) -> list[str]:
    def attempt() -> list[str]:
        tries = [("docker login", access.token())]
        tries += [(f"pull of {name}", access.pull(name)) for name in iam_place(services).scope.repositories]
        for what, tried in tries:
            if not enough(tried.verdict):
                raise _still(what, shown, tried.verdict)
        return [f"{what} with {shown}: {tried.verdict} ({tried.action})" for what, tried in tries]

    return services.retry(f"see {shown} refused", attempt)


def _still(what: str, shown: str, verdict: str) -> RemoteError:
    return RemoteError(
        f"{what} with {shown}: expected the request to be denied, but the answer was {verdict!r}",
        hint="IAM takes some seconds; run 'customer revoke' again. If nothing changes, the deny policy is "
        "not in force",
        retryable=True,
    )
