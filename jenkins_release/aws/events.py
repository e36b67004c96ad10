"""The events of botocore's clients, whose names the process translates once."""

from __future__ import annotations

import copy
from typing import Any

from botocore.hooks import EventAliaser, HierarchicalEmitter

_NAMES: dict[str, str] = {}
"""What was translated; two threads may translate the same name, with the same result."""


class EventNames(EventAliaser):  # type: ignore[misc]  # botocore has no types
    """Translates the old names of events, as botocore does, but not again for each client.

    botocore compares each name with more than a hundred old ones, which takes longer than the event itself.

    Args:
        emitter: Emits events under their present names.
    """

    def __init__(self, emitter: Any) -> None:
        super().__init__(emitter)
        # botocore has no public access to it.
        self._alias_name_cache = _NAMES

    def __copy__(self) -> EventNames:
        return EventNames(copy.copy(self._emitter))


class OwnHandlers(HierarchicalEmitter):  # type: ignore[misc]  # botocore has no types
    """Emits events to handlers that are known to take keyword arguments, as botocore's own do.

    Looking at the signature of each of its hundred handlers takes longer than the rest of their registration.
    """

    def _verify_accept_kwargs(self, func: Any) -> None:
        pass
