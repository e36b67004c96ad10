"""Connection pools that are closed when we say so."""

from __future__ import annotations

from typing import Any


def close_pools(*managers: Any) -> None:
    """Close the connections in the pools of managers; one that is in use is closed when it comes back.

    A urllib3 manager only forgets its pools: their connections stay open as long as anything refers to a
    pool. An answer does, and an error refers to the answer.

    Args:
        managers: The urllib3 managers.
    """
    for manager in managers:
        for key in manager.pools.keys():  # noqa: SIM118 - it cannot be iterated over
            if (pool := manager.pools.get(key)) is not None:
                pool.close()
