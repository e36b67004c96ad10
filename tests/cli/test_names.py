"""A name that is unknown: the answer asks whether another one was meant."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.text import did_you_mean
from jenkins_release.config import load_configuration
from jenkins_release.steps.trust.document import _document
from tests.fixtures.command import fails, run
from tests.fixtures.configuration import release_toml
from tests.snapshots.documents import KEPT


@pytest.mark.parametrize(
    ("words", "question"),
    [
        (["candidat", "list"], "Did you mean 'candidate'?"),
        (["realese"], "Did you mean 'release'?"),
        (["candidate", "lst"], "Did you mean 'list'?"),
        (["candidate", "list", "--jsn"], "Did you mean '--json'?"),
        (["doctor", "--from", "qa"], "Did you mean '--for'?"),
        (["--versoin"], "Did you mean '--version'?"),
        (["history", "8.1.0"], "Did you mean 'release history'?"),
        (["publish", "8.1.0/42"], "Did you mean 'release publish' or 'trust publish'?"),
    ],
)
def test_commands_and_options(words: list[str], question: str):
    done = run(*words, environ={})
    assert done.status == 2
    assert question in done.err.replace("(", "").replace("one of: ", "").replace(")", "")


def test_a_name_like_no_other_gets_no_question():
    done = run("colours", environ={})
    assert done.status == 2
    assert done.err.endswith("No such command 'colours'.\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[produkt]", "produkt: is not a known key; did you mean 'product'?"),
        ("[share]\nrelease_candidates = 'x'", "did you mean 'release_candidate' or 'releases'?"),
        (
            "[[images]]\nrepositry = 'x'",
            "images[0].repositry: is not a known key; did you mean 'repository'?",
        ),
        ("[[notify]]\nseverity = 'x'", "notify[0].severity: is not a known key\n"),
        ("[policy]\nsoak_hour = 2", "policy.soak_hour: is not a known key; did you mean 'soak_hours'?"),
        ("[saas]\n[[saas.services]]\ncontaners = 'x'", "did you mean 'containers'?"),
    ],
)
def test_keys_of_the_configuration(tmp_path: Path, text: str, told: str):
    (tmp_path / "release.toml").write_text(f"{text}\n")
    done = run("candidate", "list", "--config", str(tmp_path / "release.toml"), environ={})
    fails(done, 2, told)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["release", "history", "8.1.00"], "did you mean '8.1.0'?"),
        (["release", "compare", "8.1.0", "8.1.01"], "did you mean '8.1.0'?"),
        (["promote", "override", "plan.json", "--condition", "freze", "--reason", "x"], "'freeze'?"),
    ],
)
def test_versions_and_conditions(tmp_path: Path, words: list[str], told: str):
    shutil.copytree(sorted(KEPT.iterdir())[-1] / "share", tmp_path / "share")
    (tmp_path / "release.toml").write_text(release_toml(tmp_path / "share", images=("rms", "viewer")))
    done = run(*words, environ={"JENKINS_RELEASE_CONFIG": str(tmp_path / "release.toml")})
    fails(done, 2, told)


def test_keys_that_a_trust_document_fixes(tmp_path: Path):
    (tmp_path / "release.toml").write_text(release_toml(tmp_path / "share", images=("rms",)))
    configuration = load_configuration(tmp_path / "release.toml", environ={})
    with pytest.raises(ConfigurationError, match=r"no key 'ecr.acount' to fix") as error:
        _document(configuration, ("ecr.acount",), datetime.now(UTC))
    assert error.value.hint.startswith("did you mean 'ecr.account'")


def test_the_case_of_letters_does_not_matter():
    assert did_you_mean("acme", ["ACME", "Globex"]) == "did you mean 'ACME'?"
    assert did_you_mean("x", []) == ""
