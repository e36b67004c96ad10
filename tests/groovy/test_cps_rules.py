"""The rules for pipeline code find what they are for: each in a sample that breaks it, and in no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.groovy.jenkins import Jenkins

PURE = "import com.cloudbees.groovy.cps.NonCPS\n"


@pytest.fixture
def rules(jenkins: Jenkins, tmp_path: Path):
    """Return the rules that a source breaks."""

    def found(source: str) -> list[str]:
        sample = tmp_path / "sample.groovy"
        sample.write_text(source)
        return sorted({each["rule"] for each in jenkins.facts(sample)["findings"]})

    return found


def within(*lines: str) -> str:
    """A step with these lines."""
    return "void call(List names, Map map) {\n" + "".join(f"    {line}\n" for line in lines) + "}\n"


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("names.each { echo it }", "closure"),
        ("names.collect { sh it }", "closure"),
        ("List found = names.findAll { fileExists it }", "closure"),
        ("names.sort { a, b -> readFile(a) <=> readFile(b) }", "closure"),
        ("def later = { echo 'x' }", "closure"),
        ("names.each(this.&remove)", "closure"),
        ("names.dir { echo it }", "closure"),
        ("names*.trim()", "spread"),
        ("List found = map*.key", "spread"),
        ("def found = names[0] =~ /a/", "unsaved"),
        ("java.util.regex.Matcher found = match(names)", "unsaved"),
        ("def found = pattern.matcher('x')", "unsaved"),
        ("def found = new groovy.json.JsonSlurper().parseText('{}')", "unsaved"),
        ("Iterator all = start(names)", "unsaved"),
        ("def all = names.iterator()", "unsaved"),
        ("for (entry in map) { echo entry.key }", "unsaved"),
        ("for (Map.Entry entry in map) { echo 'x' }", "unsaved"),
        ("for (entry in map.entrySet()) { echo 'x' }", "unsaved"),
        ("def process = 'ls'.execute()", "unsaved"),
        ("synchronized (this) { echo 'x' }", "synchronized"),
        ('echo "${names}"', "interpolated"),
        ("count = 1", "state"),
        ("count += 1", "state"),
        ("echo env.JENKINS_RELEASE_SMB_PASSWORD", "secret"),
        ("error AWS_SECRET_ACCESS_KEY", "secret"),
        ("password(name: 'P')", "secret"),
    ],
)
def test_a_line_that_breaks_a_rule_is_found(rules, line: str, rule: str):
    """Closures that Jenkins does not transform, values that it cannot store, state, secrets."""
    assert rule in rules(within(line))


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        (PURE + "@NonCPS\nvoid call(Map map) {\n    echo 'x'\n}\n", "pure"),
        (PURE + "@NonCPS\nvoid call(Map map) {\n    this.echo 'x'\n}\n", "pure"),
        (PURE + "@NonCPS\nvoid a() {\n    b()\n}\nvoid b() {\n}\n", "pure"),
        (PURE + "@NonCPS\nIterator a(List b) {\n    return b.iterator()\n}\n", "unsaved"),
        (
            "import groovy.json.JsonSlurper\n"
            + PURE
            + "@NonCPS\nMap a(String b) {\n    return new JsonSlurper().parseText(b) as Map\n}\n",
            "unsaved",
        ),
        ("import groovy.transform.Field\n@Field int count = 0\nvoid call() {\n}\n", "state"),
        ("class Other {\n}\nvoid call() {\n}\n", "class"),
    ],
)
def test_a_script_that_breaks_a_rule_is_found(
    jenkins: Jenkins, rules, tmp_path: Path, source: str, rule: str
):
    """@NonCPS that calls a step, what it returns, fields, classes."""
    found = rules(source)
    # A field annotation is resolved later than the tree is read: what is left outside of methods tells.
    loose = jenkins.facts(tmp_path / "sample.groovy")["loose"]
    assert rule in found or (rule == "state" and loose)


@pytest.mark.parametrize(
    "source",
    [
        within(
            "for (name in names) { echo name }",
            "String all = ''",
            "all += names.size()",
            "dir('x') { echo all }",
        ),
        within("environment { VERSION = '8.1.0' }"),
        within("try {", "    echo params.SECRET", "} catch (error) {", "    error = null", "}"),
        PURE
        + "@NonCPS\nprivate String a(Map m) {\n    for (e in m) { b(e.key) }\n}\n@NonCPS\nvoid b(k) { }\n",
    ],
)
def test_what_jenkins_runs_as_it_is_written_is_not_found(rules, source: str):
    """A rule that forbids too much would be gone around."""
    assert rules(source) == []
