"""Handing an access key over: an encrypted file, AWS Secrets Manager, or somewhere that shows it once.

A hand-over can say whether it already has a key. So a run that died between creating a key and noting it is
finished without a second key.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import SecretStr

from jenkins_release.aws.secrets import OWNER
from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, RemoteError

if TYPE_CHECKING:
    from jenkins_release.aws.iam import Credentials
    from jenkins_release.aws.secrets import SecretStore

SCHEMA = "jenkins-release/customer-key/v1"
_MIN_PASSPHRASE = 12


@dataclass(frozen=True)
class HandedKey:
    """What a customer gets.

    Attributes:
        customer: The customer.
        user: IAM user name.
        product: The product.
        region: AWS region of the registry.
        registry: Registry host.
        credentials: The key.
    """

    customer: str
    user: str
    product: str
    region: str
    registry: str
    credentials: Credentials

    def to_json(self) -> str:
        """Return the document with the secret in it."""
        document = {
            "schema": SCHEMA,
            "customer": self.customer,
            "user": self.user,
            "product": self.product,
            "region": self.region,
            "registry": self.registry,
            "accessKeyId": self.credentials.key_id,
            "secretAccessKey": self.credentials.secret.get_secret_value(),
        }
        return json.dumps(document, indent=2) + "\n"


class HandOver(Protocol):
    """Where a secret goes."""

    def require_for(self, user: str) -> None:
        """Refuse, before a key is made, a place that is not this user's. Raises ConfigurationError."""
        ...

    def holds(self, user: str, key_id: str) -> bool:
        """Whether the key was handed over here; False if that cannot be known."""
        ...

    def give(self, key: HandedKey) -> None:
        """Hand a key over, completely or not at all."""
        ...

    def place(self, user: str, key_id: str) -> str:
        """Say where the key is, for people."""
        ...


class FileHandOver:
    """A file in the age format (age-encryption.org/v1), armored, with mode 0600.

    The file's name has the key's id in it, so a file says which key it holds without being opened.

    Args:
        folder: Where files are written; made where only its last name is missing.
        recipients: Public keys of the customer: ``age1...``, ``ssh-ed25519 ...`` or ``ssh-rsa ...``.
        passphrase: Encrypts the file instead of recipients.

    Raises:
        ConfigurationError: No recipient and no passphrase, both, one that cannot be used, or no
            such folder.
    """

    def __init__(
        self, folder: Path, *, recipients: Sequence[str] = (), passphrase: SecretStr | None = None
    ) -> None:
        if bool(recipients) == (passphrase is not None):
            raise ConfigurationError(
                "a hand-over file needs the customer's public key or a passphrase, and not both",
                hint="give --recipient age1..., or set JENKINS_RELEASE_HANDOVER_PASSPHRASE",
            )
        if passphrase is not None and len(passphrase.get_secret_value()) < _MIN_PASSPHRASE:
            raise ConfigurationError(
                f"the passphrase of the hand-over file has fewer than {_MIN_PASSPHRASE} characters",
                hint="use a longer one, and send it to the customer in another way than the file",
            )
        place = folder if folder.exists() else folder.absolute().parent
        if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
            raise ConfigurationError(f"{folder} is not a writable folder", hint="give --file FOLDER")
        self._folder = folder
        self._recipients = [_recipient(text) for text in recipients]
        self._passphrase = passphrase

    def require_for(self, user: str) -> None:
        """Do nothing: each key has a file of its own."""

    def path(self, user: str, key_id: str) -> Path:
        """Return the file of a key."""
        return self._folder / f"{user}-{key_id}.age"

    def holds(self, user: str, key_id: str) -> bool:
        """Whether the file of the key is there: it appears complete or not at all."""
        return self.path(user, key_id).is_file()

    def give(self, key: HandedKey) -> None:
        """Write the file beside its place, flush it, and rename it; the folder is made if need be.

        Raises:
            ConfigurationError: It cannot be written.
        """
        import pyrage

        text = key.to_json().encode()
        if self._passphrase is not None:
            data = pyrage.passphrase.encrypt(text, self._passphrase.get_secret_value(), armored=True)
        else:
            data = pyrage.encrypt(text, self._recipients, armored=True)
        target = self.path(key.user, key.credentials.key_id)
        temporary = target.with_name(f".{target.name}.part")
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            temporary.unlink(missing_ok=True)
            # Neither another user's file nor a link to one.
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise ConfigurationError(
                f"{target} cannot be written: {error.strerror}",
                hint="run the command again, which replaces the created key",
            ) from error

    def place(self, user: str, key_id: str) -> str:
        """Return the path."""
        return str(self.path(user, key_id))


class SecretHandOver:
    """A secret in AWS Secrets Manager; who may read it is said by IAM.

    Args:
        store: Secrets Manager.
        name: Name of the secret.
    """

    def __init__(self, store: SecretStore, name: str) -> None:
        self._store = store
        self._name = name

    def require_for(self, user: str) -> None:
        """Refuse another user's secret: writing to it would replace that user's key.

        Raises:
            ConfigurationError: It belongs to another user, or the owner is unknown.
        """
        owner = self._store.owner(self._name)
        if owner in {None, user}:
            return
        raise ConfigurationError(
            f"the secret {self._name} belongs to {owner}, expected {user}"
            if owner
            else f"the secret {self._name} was not made by this program",
            hint=f"give another name, or tag the secret {OWNER}={user} to allow writing to it",
        )

    def holds(self, user: str, key_id: str) -> bool:  # noqa: ARG002 - the version says which key it is
        """Whether the secret's version for the key is in force."""
        return self._store.holds(self._name, key_id)

    def give(self, key: HandedKey) -> None:
        """Write the secret's version for the key, and see that it is in force. Raises RemoteError.

        A run after this one deletes a key that the secret does not seem to hold.
        """
        described = f"Access of {key.customer} to the images of {key.product}"
        key_id, text = key.credentials.key_id, key.to_json()
        self._store.put(self._name, key_id, text, owner=key.user, description=described)
        if not self._store.holds(self._name, key_id):
            raise RemoteError(
                f"the secret {self._name} does not show the key {key_id} that was just written",
                hint="run the command again",
                retryable=True,
            )

    def place(self, user: str, key_id: str) -> str:  # noqa: ARG002 - one secret for every key
        """Return the secret's name."""
        return f"AWS Secrets Manager: {self._name}"


def _recipient(text: str) -> object:
    import pyrage

    kind = pyrage.ssh.Recipient if text.startswith("ssh-") else pyrage.x25519.Recipient
    try:
        return kind.from_str(text.strip())
    except (pyrage.RecipientError, ValueError) as error:
        raise ConfigurationError(
            f"the recipient {text[:24]!r}... is not a public key that age supports: {error}",
            hint="give what 'age-keygen -y' prints (age1...), or a line of ssh-ed25519 or ssh-rsa",
        ) from error
