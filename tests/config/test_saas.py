"""The section ``[saas]``: complete for its strategy, every mistake told by its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.config import load_configuration
from tests.config.test_load import GOOD, mistakes

HEALTH = '[[saas.health]]\nurl = "https://skydrm.example/health"\n'
ECS = '[saas]\nstrategy = "ecs"\ncluster = "skydrm"\n'
SERVICE = '[[saas.services]]\nname = "rms"\ncontainers = { web = "rms" }\n'
SSM = '[saas]\nstrategy = "ssm"\n[saas.ssm]\ndocument = "Install"\ntargets = { Stack = ["eu"] }\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A place for ``release.toml``."""
    return tmp_path / "release.toml"


@pytest.mark.parametrize("text", ["", ECS + SERVICE + HEALTH, SSM + HEALTH], ids=["none", "ecs", "ssm"])
def test_a_complete_section_is_taken(file: Path, text: str):
    """No stack is fine too."""
    file.write_text(GOOD + text)
    assert load_configuration(file, environ={}).saas.poll_s == 5.0


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ('[saas]\nstrategy = "ecs"\n' + HEALTH, "saas: the strategy 'ecs' needs cluster and services"),
        ('[saas]\nstrategy = "ssm"\n' + HEALTH, "saas: the strategy 'ssm' needs ssm"),
        (ECS + SERVICE, "saas: health is missing: without a check, a refresh cannot know whether to return"),
        (ECS + SERVICE + SERVICE + HEALTH, "saas: services names rms more than once"),
        ('[saas]\nregion = "europe"\n', "saas.region: is not an AWS region, such as us-east-1"),
        ('[saas]\nstack = "eu/west"\n', "saas.stack: 'eu/west' contains '/'"),
        (f'[saas]\nstack = "{"e" * 61}"\n', "has 61 characters, at most 60 are allowed"),
        (SSM.replace("Install", ""), "saas.ssm.document: "),
        (SSM + 'max_concurrency = "0"\n', "saas.ssm.max_concurrency: "),
        (SSM + 'max_errors = "101%"\n', "saas.ssm.max_errors: "),
        (
            SSM + 'parameters = { commands = ["echo {verison}"] }\n',
            "saas.ssm.parameters: commands: 'echo {verison}' names {verison}",
        ),
        (HEALTH.replace("https", "ftp"), "saas.health[0].url: is not an http or https URL"),
        (HEALTH + 'matches = "("\n', "saas.health[0].matches: is not a regular expression"),
        (HEALTH + "successes = 0\n", "saas.health[0].successes: "),
        (HEALTH + 'version = "{verison}"\n', "saas.health[0].version: names {verison}"),
    ],
)
def test_every_mistake_has_its_key(file: Path, text: str, mistake: str):
    """And says what is expected."""
    file.write_text(GOOD + text)
    assert any(mistake in each for each in mistakes(file)), mistakes(file)


def test_a_container_has_to_run_an_image_of_the_product(file: Path):
    """A mistyped image would be found only at the next refresh."""
    file.write_text(GOOD + ECS + SERVICE.replace('"rms" }', '"rmz" }') + HEALTH)
    (mistake,) = mistakes(file)
    assert "the container web of rms should run the image 'rmz', which is not in [[images]]" in mistake


def test_a_login_in_a_url_is_refused_and_not_shown(file: Path):
    """A health check asks as a stranger; the password in the file is not repeated."""
    file.write_text(GOOD + HEALTH.replace("skydrm.example", "dana:hunter2@skydrm.example"))
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(file, environ={})
    assert "contains a login, but health checks do not log in" in caught.value.reasons[0]
    assert "hunter2" not in str(caught.value.reasons)
