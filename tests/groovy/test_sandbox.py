"""As the library of a folder the steps run in the script sandbox: nothing that is not on its list."""

from __future__ import annotations

import pytest

from tests.groovy.jenkins import Jenkins, Job


@pytest.mark.parametrize(
    ("script", "signature"),
    [
        ("Character.isISOControl('a'.charAt(0))", "staticMethod java.lang.Character isISOControl char"),
        ("new groovy.json.JsonSlurperClassic()", "new groovy.json.JsonSlurperClassic"),
        ("'[]'.execute()", "execute java.lang.String"),
        ("System.getenv('PATH')", "staticMethod java.lang.System getenv java.lang.String"),
        ("[5L].each { Thread.sleep(it) }", "staticMethod java.lang.Thread sleep long"),
        ("return 'x'.class.classLoader", "classLoader"),
        ("['/etc'] as File", "a cast to java.io.File"),
        ("return Integer.MIN_VALUE", "staticField java.lang.Integer MIN_VALUE"),
    ],
)
def test_what_is_not_on_the_list_is_refused(jenkins: Jenkins, empty_job: Job, script: str, signature: str):
    """Statics, constructors, methods, properties and conversions."""
    outcome = jenkins.run(empty_job, script, sandboxed=True)
    assert outcome.status == "FAILURE"
    assert "Scripts not permitted to use" in outcome.failure
    assert signature in outcome.failure


def test_what_is_on_the_list_works(jenkins: Jenkins, empty_job: Job):
    """And means the same."""
    script = (
        "Map a = [b: ['x']]; a.b << 'y' + 1; return a.b.join('-') + UUID.randomUUID().toString().length()"
    )
    assert jenkins.run(empty_job, script, sandboxed=True).ok() == "x-y136"
