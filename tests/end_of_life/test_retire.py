"""Retiring what lies outside the support window: nothing else goes, and promoting again restores it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import requests

from jenkins_release.images import DockerEngine
from jenkins_release.sandbox.ecr.faults import Fault
from tests.end_of_life.test_withdraw import move_tags, publish
from tests.fixtures.release import SERVICES, Begin, Product, another_registry


@pytest.fixture
def three_lines(begin: Begin, engine: DockerEngine) -> Product:
    """7.9.0, 8.0.0 and 8.1.0 of two images, with tags that move."""

    def prepare(product: Product) -> None:
        move_tags(product)
        for build, version in enumerate(("7.9.0", "8.0.0", "8.1.0"), start=1):
            publish(product, engine, version, str(build))

    return begin("three lines", prepare)


def test_a_line_stays_until_the_last_day_of_its_support(three_lines: Product):
    """What customers were promised comes first; the day after, the line goes."""
    three_lines.append('\n[support]\nends = { "7.9" = 2999-03-31 }\n')
    shown = three_lines.ok("release", "retire", "--dry-run")
    assert (shown["supported"], shown["removed"]) == (["8.1", "8.0", "7.9"], [])
    three_lines.edit("2999-03-31", "2000-03-31")
    assert three_lines.ok("release", "retire", "--dry-run")["supported"] == ["8.1", "8.0"]


def test_a_line_outside_the_window_leaves_the_registry_and_can_come_back(three_lines: Product):
    """Shown first; then exactly its tags go, signed onto the candidate; a promotion restores them."""
    product = three_lines
    before = product.tags()
    files = sorted(product.candidate("7.9.0/1").rglob("*.tar"))
    product.sandbox.ecr.forget_requests()
    shown = product.ok("release", "retire", "--dry-run")
    # A nightly look must not count as a pull, which would protect everything for good.
    made = {each.action for each in product.sandbox.ecr.requests()}
    assert not {"BatchGetImage", "GetDownloadUrlForLayer"} & made
    assert shown["supported"] == ["8.1", "8.0"]
    assert {each["tag"] for each in shown["removed"]} == {"7.9.0", "7.9"}
    assert product.tags() == before
    product.sandbox.ecr.order(
        Fault(action="BatchDeleteImage", skip=2, status=400, code="AccessDeniedException")
    )
    assert product.run("release", "retire").status == 5
    product.sandbox.ecr.cancel_faults()
    left = product.tags()
    assert before != left
    done = product.ok("release", "retire")
    gone = [(each["repository"], each["tag"]) for each in done["removed"]]
    assert sorted(gone) == sorted(
        (name, tag) for name, tags in left.items() for tag in tags if tag in {"7.9.0", "7.9"}
    )
    after = product.tags()
    for name, tags in before.items():
        assert after[name] == {tag: digest for tag, digest in tags.items() if tag not in {"7.9.0", "7.9"}}
    assert sorted(product.candidate("7.9.0/1").rglob("*.tar")) == files
    history = product.run("release", "history", "7.9.0")
    assert history.status == 0
    assert "build 1 retired" in history.out
    assert "retired by" in history.out
    listed = {each["version"]: each for each in product.ok("release", "list")["releases"]}
    assert {version for version, each in listed.items() if each["retired"]} == {"7.9.0"}
    assert "retired on" in product.run("release", "list").out
    again = product.ok("release", "retire")
    assert (again["removed"], again["attestations"]) == ([], {})
    restored = product.run("promote", "run", "7.9.0/1")
    assert restored.status == 0, restored.text
    assert product.tags().keys() == before.keys()
    assert all("7.9.0" in tags for tags in product.tags().values())
    assert "build 1 promoted" in product.run("release", "history", "7.9.0").out


def test_what_was_pulled_lately_and_what_nobody_recorded_stay(three_lines: Product):
    """With support.protect_pulled_days; and a tag that somebody set by hand."""
    product = three_lines
    product.append("[support]\nprotect_pulled_days = 30\n")
    name = next(iter(product.tags()))
    client = product.client()
    image = client.batch_get_image(repositoryName=name, imageIds=[{"imageTag": "8.1.0"}])["images"][0]
    client.put_image(repositoryName=name, imageManifest=image["imageManifest"], imageTag="6.0.0")
    found = product.ok("release", "retire", "--dry-run")
    kept = {(each["repository"], each["tag"]): each["reason"] for each in found["kept"]}
    assert kept[name, "6.0.0"] == "the image is also named by a tag that stays"
    # The promotion itself does not pull over the registry; who does is protected.
    answer = client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    token = base64.b64decode(answer).decode().partition(":")[2]
    url = f"{product.sandbox.ecr.endpoint}/v2/{name}/manifests/7.9.0"
    assert requests.get(url, auth=("AWS", token), timeout=10).status_code == 200
    found = product.ok("release", "retire")
    kept = {(each["repository"], each["tag"]): each["reason"] for each in found["kept"]}
    assert kept[name, "7.9.0"].startswith("it was pulled on")
    (other,) = set(product.tags()) - {name}
    assert kept[other, "7.9.0"].startswith("7.9.0 was pulled on")
    assert all("7.9.0" in tags for tags in product.tags().values())
    assert found["removed"] == []


def test_what_was_released_to_another_registry_opens_no_line(
    promoted: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """A rehearsal's 9.0.0 must not push 8.0 out of the registry that customers pull from."""
    assert promoted.ok("release", "retire", "--dry-run")["supported"] == ["8.1"]
    with another_registry(tmp_path, monkeypatch):
        shown = promoted.ok("release", "retire", "--dry-run")
    assert (shown["supported"], shown["removed"]) == ([], [])


def test_what_the_registry_holds_afterwards_is_looked_at(three_lines: Product):
    """An answer from before the last change is asked for again."""
    product = three_lines
    name = f"{product.prefix}/{SERVICES[1]}"
    late = Fault(action="BatchGetImage", repository=name, after="BatchDeleteImage", skip=2, stale=1)
    product.sandbox.ecr.order(late)
    done = product.run("release", "retire")
    assert done.status == 0, done.text
    assert "the registry still shows it" in done.err
    assert not product.sandbox.ecr.pending_faults()
    assert not {"7.9.0", "7.9"} & {tag for tags in product.tags().values() for tag in tags}


def test_a_tag_that_names_something_else_by_then_is_not_told_as_removed(three_lines: Product):
    """The list of images was from before somebody moved it."""
    product = three_lines
    name = sorted(product.tags())[-1]
    client = product.client()
    other = client.batch_get_image(repositoryName=name, imageIds=[{"imageTag": "8.1.0"}])["images"][0]
    client.batch_delete_image(repositoryName=name, imageIds=[{"imageTag": "7.9.0"}])
    client.put_image(repositoryName=name, imageManifest=other["imageManifest"], imageTag="7.9.0")
    product.sandbox.ecr.order(Fault(action="DescribeImages", repository=name, count=None, stale=2))
    done = product.ok("release", "retire")
    product.sandbox.ecr.cancel_faults()
    kept = {(each["repository"], each["tag"]): each["reason"] for each in done["kept"]}
    assert kept[name, "7.9.0"] == f"names {other['imageId']['imageDigest']} by now"
    assert (name, "7.9.0") not in {(each["repository"], each["tag"]) for each in done["removed"]}
    assert product.tags()[name]["7.9.0"] == other["imageId"]["imageDigest"]
