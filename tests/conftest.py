"""Registers the fixtures of every part, and says which tests cannot run for a user without root."""

from __future__ import annotations

import gc
import os
import signal
from functools import cache

import pytest
from hypothesis import HealthCheck, settings

from jenkins_release.sandbox.process import root_refused

# A shell that starts the tests in the background lets them ignore SIGINT, and what they start too.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something about the machine, nothing about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

pytest_plugins = [
    "tests.fixtures.snapshots",
    "tests.fixtures.raw_server",
    "tests.fixtures.share",
    "tests.fixtures.liar",
    "tests.fixtures.docker",
    "tests.fixtures.registry_double",
    "tests.fixtures.ecr",
    "tests.fixtures.release",
    "tests.fixtures.customer",
    "tests.fixtures.jenkins",
    "tests.fixtures.approval",
    "tests.fixtures.resume",
    "tests.fixtures.customers",
    "tests.fixtures.notify",
    "tests.fixtures.saas",
    "tests.fixtures.s3",
    "tests.fixtures.portal",
    "tests.fixtures.browser",
    "tests.fixtures.ledger",
    "tests.fixtures.log",
    "tests.fixtures.unprivileged",
    "tests.fixtures.warm",
    "tests.fixtures.domain",
]

_NEEDS_ROOT = frozenset(
    {
        "containerd_daemon",
        "customer_host",
        "docker",
        "place",
        "small_daemon",
        "unprivileged",
        "users_daemon",
    }
)
"""Fixtures that mount, become another user, or start a Docker daemon."""


_LONG = (
    "tests/end_of_life/",
    "tests/promotion/",
    "tests/release/",
    "tests/candidate/",
    "tests/publication/",
    "tests/ledger/test_chains.py",
    "tests/docs/test_examples.py",
    "tests/domain/",
    "tests/groovy/test_pipelines.py",
    "tests/benchmarks/test_quick_run.py",
    "tests/bundle/",
    "tests/faults/",
    "tests/sandbox/test_watchdog.py",
    "tests/snapshots/test_results.py",
    "tests/share/",
    "tests/trust/",
)
"""Files that take minutes begin first: at the end, one process would wait for another's."""


@cache
def _no_root() -> str:
    return root_refused()


def pytest_configure() -> None:
    """Let nothing be collected while tests are imported: all of it stays."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking through modules and tests, and through the rest too often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first, and mark what needs root by its fixtures."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONG))
    for item in items:
        if _NEEDS_ROOT.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.root)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail what needs root and has none: a skipped test would look like one that passed."""
    if item.get_closest_marker("root") and (why := _no_root()):
        pytest.fail(f"this test needs root, and {why}", pytrace=False)


def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes run the tests (``-n auto``): three, each with servers, keep two cores busy.

    One if they would share a Docker daemon, and the names in it.
    """
    return 1 if os.environ.get("JENKINS_RELEASE_TEST_DOCKER") or _no_root() else 3
