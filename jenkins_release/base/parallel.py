"""One action for many items, several at a time: round trips overlap, and the order is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from jenkins_release.base.waits import Stopped, ThreadGroup, check

T = TypeVar("T")
R = TypeVar("R")

WORKERS = 16
"""Calls under way at a time, by default."""


def map_parallel(action: Callable[[T], R], items: Iterable[T], *, workers: int = WORKERS) -> list[R]:
    """Call ``action`` with each item in threads, and return the results in the order of the items.

    A single item or worker needs no thread. The threads are a
    :class:`~jenkins_release.base.waits.ThreadGroup`: after a failure, or Ctrl-C, calls that have not begun
    are left out, and the waits of those under way end.

    Args:
        action: What to do with an item; must be thread-safe.
        items: The items.
        workers: Maximum number of calls at a time.

    Raises:
        Exception: The error of the first item, in order, whose call failed by itself.
    """
    wanted = list(items)
    if len(wanted) < 2 or workers == 1:
        return [action(item) for item in wanted]
    group = ThreadGroup()

    def member(item: T) -> R:
        try:
            check()
            return action(item)
        except BaseException:
            group.end()
            raise

    with ThreadPoolExecutor(min(workers, len(wanted)), thread_name_prefix="parallel") as pool:
        try:
            futures = [pool.submit(group.run, member, item) for item in wanted]
            wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:
            group.end()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        if group.ended:
            pool.shutdown(wait=False, cancel_futures=True)
    failures = [future.exception() for future in futures if not future.cancelled()]
    raised = [failure for failure in failures if failure is not None]
    if raised:
        raise next((failure for failure in raised if not isinstance(failure, Stopped)), raised[0])
    return [future.result() for future in futures]
