"""What could not be read or removed, collected: one bad list or image does not keep the others from going."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from jenkins_release.base.errors import (
    BY_CATEGORY,
    ConfigurationError,
    IntegrityError,
    ReleaseError,
    RemoteError,
)
from jenkins_release.registry.protocol import RepositoryNotFound

_log = logging.getLogger(__name__)


class Leftovers:
    """The errors of one command about what refers to images."""

    def __init__(self) -> None:
        self._errors: list[ReleaseError] = []

    def __len__(self) -> int:
        return len(self._errors)

    @property
    def outage(self) -> bool:
        """Whether the last error came although it was tried several times: the next call would fail too."""
        return bool(self._errors) and self._errors[-1].retryable

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Collect what the block raises, with a warning. In a repository that is gone, nothing is left."""
        try:
            yield
        except RepositoryNotFound:
            return
        except (ConfigurationError, IntegrityError, RemoteError) as error:
            if all(error.message != each.message for each in self._errors):
                _log.warning("%s", error.message)
            self._errors.append(error)

    def require_none(self) -> None:
        """Raise one error about all of them, if there are any: an IntegrityError, if one of them is."""
        if not self._errors:
            return
        reasons = list(dict.fromkeys(error.message for error in self._errors))
        first = next((each for each in self._errors if isinstance(each, IntegrityError)), self._errors[0])
        more = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        raise BY_CATEGORY[first.category](
            f"not everything that refers to the images could be read or removed: {first.message}{more}",
            hint="; ".join(filter(None, (first.hint, "the rest is done: run the command again after that"))),
            reasons=reasons,
        )
