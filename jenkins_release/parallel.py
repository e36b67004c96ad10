"""The same for each of many things, several at a time: round trips overlap, the order stays."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

WORKERS = 16
"""Calls under way at a time, by default."""


def map_parallel(action: Callable[[T], R], items: Iterable[T], *, workers: int = WORKERS) -> list[R]:
    """Call ``action`` with each item in threads, and return the results in the order of the items.

    Args:
        action: What is done with an item; must stand several threads.
        items: The items.
        workers: Most calls under way at a time.

    Raises:
        Exception: That of the first item, in their order, whose call failed. Calls that have not
            begun by then are left out; those under way are waited for.
    """
    wanted = list(items)
    if len(wanted) < 2:
        return [action(item) for item in wanted]
    with ThreadPoolExecutor(min(workers, len(wanted)), thread_name_prefix="parallel") as pool:
        futures = [pool.submit(action, item) for item in wanted]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
