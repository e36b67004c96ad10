"""Registers the fixtures of every part."""

pytest_plugins = [
    "tests.fixtures.share",
    "tests.fixtures.liar",
    "tests.fixtures.docker",
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
]
