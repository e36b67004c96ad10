"""Registers the fixtures of every part."""

import signal

from hypothesis import HealthCheck, settings

# A shell that starts the tests in the background lets them ignore SIGINT, and what they start too.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something about the machine, nothing about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

pytest_plugins = [
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
]
