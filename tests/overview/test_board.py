"""The release board: every candidate on one page, what it waits for, and nothing that is not proven."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jenkins_release import BoardRequest, Services, load_configuration, write_board
from jenkins_release.images import DockerEngine
from jenkins_release.sandbox.sample_images import build_images
from tests.fixtures.browser import FORBIDDEN, SCREENSHOTS, jenkins_serves, looked_at
from tests.fixtures.customers import CustomerLab
from tests.fixtures.damage import flipped
from tests.fixtures.ledger import folder_ledger, with_ledger
from tests.fixtures.portal import Shop
from tests.fixtures.release import SERVICES, Begin, Product
from tests.fixtures.s3 import S3Double
from tests.fixtures.saas import SaasStack

HOSTILE = "<b>Quinn</b>"
JENKINS = """[jenkins]
url = 'https://jenkins.example/'
[[jenkins.jobs]]
kind = 'qa'
"""


@pytest.fixture
def full(begin: Begin, engine: DockerEngine) -> Product:
    """A product with something at every stage; 8.1.0/42 is released."""

    def prepare(product: Product) -> None:
        product.installers("SkyDRM-8.0.4-7.msi")
        product.append(JENKINS)
        for version, build in (("8.0.4", "7"), ("8.1.1", "50"), ("8.2.0-rc1", "60"), ("8.1.0", "44")):
            build_images(engine, version, build, names=SERVICES)
        _export(product, "8.0.4", "7")
        for build in ("42", "43", "44"):
            _export(product, "8.1.0", build)
        product.sign_off("8.0.4/7")
        product.ok("promote", "run", "8.0.4/7")
        product.ok("release", "publish", "8.0.4/7")
        product.sign_off()
        product.ok("promote", "run", "8.1.0/42")
        product.ok("release", "publish", "8.1.0/42")
        _export(product, "8.1.1", "50")
        product.sign_off("8.1.1/50", "fail", HOSTILE)
        _export(product, "8.2.0-rc1", "60")
        # Somebody changed 44 on the share.
        product.sign_off("8.1.0/44")
        record = next((product.candidate("8.1.0/44") / "attestations").glob("*-qa.dsse.json"))
        record.write_bytes(flipped(record.read_bytes(), 40))

    return begin("board", prepare)


def _export(product: Product, version: str, build: str) -> None:
    out = product.folder / "out"
    shutil.rmtree(out)
    out.mkdir()
    (out / f"SkyDRM-{version}-{build}.msi").write_bytes(bytes(300_000))
    words = ("candidate", "export", "--version", version, "--build", build, "--revision", "abc1234")
    done = product.run(
        *words, "--from", str(product.folder), BUILD_URL=f"https://jenkins.example/job/skydrm/{build}/"
    )
    assert done.status == 0, done.text


def write(product: Any, **environ: str) -> tuple[Any, Path]:
    """Write the board to a folder. Returns the result and the folder."""
    folder = product.folder / "board"
    done = product.run("release", "board", "--out", str(folder), "--json", **environ)
    assert done.status == 0, done.text
    assert json.loads((folder / "board.json").read_text()) == {
        name: value for name, value in done.json.items() if name not in {"places", "pages"}
    }
    return done.json, folder


def line(result: Any, ident: str) -> Any:
    """The line of a candidate."""
    return next(each for each in result["candidates"] if each["candidate"] == ident)


def test_what_people_see(full: Product, chromium: Any) -> None:
    """In Jenkins under its policy, on a phone, in the dark, on paper, and by keyboard."""
    result, folder = write(full)
    assert result["unread"] == []
    assert [(each["candidate"], each["group"]) for each in result["candidates"]] == [
        ("8.1.1/50", "problem"),
        ("8.1.0/44", "problem"),
        ("8.2.0-rc1/60", "waiting"),
        ("8.1.0/42", "released"),
        ("8.0.4/7", "released"),
        ("8.1.0/43", "over"),
    ]
    with (
        jenkins_serves(folder) as url,
        looked_at(chromium, f"{url}/index.html", "board-jenkins") as tab,
    ):
        text = tab.locator("body").inner_text()
        job = tab.locator("tr", has_text="8.2.0-rc1").get_by_role("link", name="Jenkins job")
        assert job.get_attribute("href") == "https://jenkins.example/job/SkyDRM/job/qa/job/qa/"
        waits = tab.locator("tr", has_text="8.0.4").locator("td.waits")
        assert waits.inner_text().strip() == "nothing"
        how = tab.locator("tr", has_text="8.2.0-rc1").locator("details.how summary")
        how.focus()
        tab.keyboard.press("Enter")
        command = tab.locator("tr", has_text="8.2.0-rc1").locator("code.whole")
        assert command.inner_text().startswith("jenkins-release qa sign-off 8.2.0-rc1/60 ")
        tab.get_by_role("link", name="8.1.0 42").focus()
        tab.keyboard.press("Enter")
        tab.wait_for_url("**/version-8.1.0.html#build-42")
        story = tab.locator("body").inner_text()
    for part in (
        "2 candidates have a problem. As of ",
        "8.1 (N), 8.0 (N-1)",
        "QA: 1",
        "a new build, or a pass by who failed it",
        HOSTILE,
        "a sign-off",
        "promoted",
        "published",
        "N-1",
        "2 releases in force",
    ):
        assert part in text, text
    for part in (
        "What changed from 8.0.4/7 to 8.1.0/42",
        "0001-build.dsse.json",
        "tests: 2 passed, 0 failed, 0 skipped",
        "It has no SBOM.",
        "installers/SkyDRM-8.1.0-42.msi",
        "Nothing of this build is proven.",
    ):
        assert part in story, story
    for view in ("phone", "dark"):
        with looked_at(chromium, (folder / "index.html").as_uri(), f"board-{view}", view):
            pass
        with looked_at(chromium, (folder / "version-8.1.0.html").as_uri(), f"board-version-{view}", view):
            pass
    with looked_at(chromium, (folder / "version-8.1.0.html").as_uri(), "board-version"):
        pass
    for page in folder.glob("*.html"):
        for forbidden in (*FORBIDDEN, "<b>Quinn"):
            assert forbidden not in page.read_text()


def test_the_lists_say_the_same_on_the_terminal(full: Product) -> None:
    """What each candidate waits for, and for whom; also if only one version is listed."""
    result, _ = write(full)
    keys = ("waitsFor", "who", "command", "reasons")
    board = {each["candidate"]: {key: each[key] for key in keys} for each in result["candidates"]}
    listed = full.ok("candidate", "list")["candidates"]
    assert {each["candidate"]: {key: each[key] for key in keys} for each in listed} == board
    assert board["8.2.0-rc1/60"]["waitsFor"] == "a sign-off"
    one = full.ok("candidate", "list", "--version", "8.1.0")["candidates"]
    assert one == [each for each in listed if each["candidate"].startswith("8.1.0/")]
    released = full.run("release", "list", "--json").json["releases"]
    assert {f"{each['version']}/{each['build']}" for each in released} >= {"8.0.4/7", "8.1.0/42"}
    for each in released:
        assert {key: each[key] for key in keys} == board[f"{each['version']}/{each['build']}"]
    table = full.run("candidate", "list").out
    assert "waits for" in table.splitlines()[0]
    assert "a sign-off (QA" in next(row for row in table.splitlines() if row.startswith("8.2.0-rc1/60"))


def test_on_paper_and_without_its_style_sheet(full: Product, chromium: Any) -> None:
    """Nothing stays folded or hidden."""
    _, folder = write(full)
    context = chromium.new_context(viewport={"width": 1050, "height": 740})
    try:
        tab = context.new_page()
        tab.goto((folder / "index.html").as_uri())
        tab.emulate_media(media="print")
        assert tab.get_by_role("rowheader", name="8.1.0 43").is_visible()
        assert tab.locator("code.whole").first.is_visible()
        assert tab.locator("html").evaluate("e => e.scrollWidth") <= 1050
        tab.screenshot(path=str(SCREENSHOTS / "board-paper.png"), full_page=True)
        (folder / "page.css").unlink()
        tab.goto((folder / "index.html").as_uri())
        text = tab.locator("body").inner_text()
    finally:
        context.close()
    assert text.index("SkyDRM") < text.index("2 candidates have a problem") < text.index("8.1.1")
    assert text.index("8.1.1") < text.index("8.0.4")


class TestWhatIsNotProven:
    def test_an_altered_candidate_shows_nothing_but_that(self, full: Product) -> None:
        """Its verdict may be anybody's."""
        result, folder = write(full)
        altered = line(result, "8.1.0/44")
        assert (altered["stages"], altered["support"]) == ({}, "")
        assert "0002-qa.dsse.json" in altered["reasons"][0]
        page = (folder / "version-8.1.0.html").read_text()
        build = page.partition('id="build-44"')[2].partition('id="build-43"')[0]
        assert "Nothing of this build is proven." in build
        assert "skydrm/rms:8.1.0-44" not in build

    def test_a_candidate_without_a_record(self, full: Product) -> None:
        """It is a line like any other."""
        (full.candidate("8.2.0-rc1/60") / "candidate.json").write_bytes(b"{")
        result, folder = write(full)
        found = line(result, "8.2.0-rc1/60")
        assert (found["group"], found["command"]) == ("problem", "jenkins-release release history 8.2.0-rc1")
        assert (folder / "version-8.2.0-rc1.html").is_file()

    def test_a_published_file_that_was_changed(self, full: Product) -> None:
        """What was promoted is not shown as released either."""
        next((full.releases / "SkyDRM" / "8.1.0" / "installers").iterdir()).unlink()
        result, _ = write(full)
        assert line(result, "8.1.0/42")["group"] == "problem"
        assert "altered: " in line(result, "8.1.0/42")["reasons"][0]
        assert result["supported"] == ["8.0"]

    def test_a_published_release_whose_candidate_is_gone(self, full: Product) -> None:
        """It is the release area that tells of it."""
        shutil.rmtree(full.candidate("8.0.4/7"))
        result, _ = write(full)
        assert line(result, "8.0.4/7")["reasons"] == [
            "not provable: its candidate 8.0.4/7 says nothing of it"
        ]

    def test_a_tag_that_is_gone_from_the_registry(self, full: Product) -> None:
        """The share alone would say that all is well."""
        repository = f"{full.prefix}/rms"
        full.client().batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": "8.1.0"}])
        result, _ = write(full)
        (reason,) = line(result, "8.1.0/42")["reasons"]
        assert reason.endswith(f"/{repository}:8.1.0 is gone from the registry")


class TestWhatCannotBeRead:
    def test_the_registry(self, full: Product, monkeypatch: pytest.MonkeyPatch) -> None:
        """The rest is there, and says so."""
        monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", "http://127.0.0.1:1")
        result, folder = write(full)
        (note,) = result["unread"]
        assert note.startswith("the registry could not be read: ")
        assert line(result, "8.1.0/42")["group"] == "released"
        assert note.partition(":")[0] in (folder / "index.html").read_text()

    def test_the_release_area(self, full: Product) -> None:
        """What is signed about it is on the other share."""
        location = full.sandbox.samba.location("nothing-of-this-name", "x")
        result, _ = write(full, JENKINS_RELEASE_SHARE_RELEASES=location)
        assert [note.partition(":")[0] for note in result["unread"]] == ["the release area could not be read"]
        assert line(result, "8.1.0/42")["stages"]["Published"]["state"] == "published"

    def test_the_journal_of_one_candidate(self, full: Product) -> None:
        """Whether its promotion was begun is unknown; it is not said that it was not."""
        full.sign_off("8.2.0-rc1/60")
        folder = full.candidate("8.2.0-rc1/60")
        (folder / "journal").symlink_to(full.candidate("8.1.0/42") / "journal")  # a folder share follows none
        result, _ = write(full, JENKINS_RELEASE_SHARE_RELEASE_CANDIDATE=str(folder.parents[2]))
        (note,) = result["unread"]
        assert note.startswith("the journal of 8.2.0-rc1/60 could not be read: ")
        assert line(result, "8.1.0/42")["group"] == "released"

    def test_who_may_pull(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        """IAM cannot be asked without a region."""
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        shop.config.write_text("[board]\ncustomers = true\n" + shop.config.read_text())
        result, _ = write(shop)
        assert [note.partition(":")[0] for note in result["unread"]] == ["who may pull could not be read"]

    def test_without_the_candidates_there_is_no_board(self, shop: Shop) -> None:
        """The one that is there still says as of when it is."""
        shop.publish()
        _, folder = write(shop)
        before = (folder / "index.html").read_bytes()
        shop.candidates.rename(shop.folder / "away")
        done = shop.run("release", "board", "--out", str(folder))
        assert done.status == 5
        assert (folder / "index.html").read_bytes() == before

    def test_a_folder_that_no_export_makes(self, shop: Shop) -> None:
        """The candidates beside it are on the board, in the list and among the releases."""
        shop.publish()
        (shop.candidates / "SkyDRM" / "<img src=x onerror=alert(1)>").mkdir()
        result, folder = write(shop)
        assert [each["candidate"] for each in result["candidates"]] == ["8.1.0/42"]
        (note,) = result["unread"]
        assert note.startswith("no candidate is looked for there: path 'SkyDRM/<img src=x")
        assert "<img" not in (folder / "index.html").read_text()
        assert len(shop.ok("candidate", "list")["candidates"]) == 1
        assert len(shop.ok("release", "list")["releases"]) == 1

    def test_what_the_ledger_knows_of_a_candidate_that_is_gone(self, shop: Shop, tmp_path: Path) -> None:
        """Somebody removed it from the share."""
        with_ledger(shop, folder_ledger(tmp_path / "ledger"))
        shop.publish()
        shop.publish("8.1.1", build="50")
        shutil.rmtree(shop.candidates / "SkyDRM" / "8.1.1")
        result, folder = write(shop)
        assert (line(result, "8.1.1/50")["group"], line(result, "8.1.0/42")["group"]) == (
            "problem",
            "waiting",
        )
        assert any("ledger" in reason for reason in line(result, "8.1.1/50")["reasons"])
        assert (folder / "version-8.1.1.html").is_file()


def test_what_runs_on_the_stack(stack: SaasStack, tmp_path: Path) -> None:
    """As recorded by refreshes; what the newest release waits for."""
    with stack.services() as services:
        board = write_board(BoardRequest(tmp_path / "one"), services).board
    waits = {each.ident: each.wait.command for each in board.lines}
    assert waits["8.1.1/50"] == "jenkins-release saas refresh 8.1.1"
    stack.refresh("8.1.1/50")
    with stack.services() as services:
        board = write_board(BoardRequest(tmp_path / "two"), services).board
    (column,) = (each for each in board.columns if each.startswith("SaaS "))
    newest = board.document()["candidates"][0]
    assert (newest["candidate"], newest["group"]) == ("8.1.1/50", "released")
    assert newest["stages"][column]["state"] == "runs"


def test_who_may_pull(lab: CustomerLab, tmp_path: Path) -> None:
    """Only on request: the board may be seen by many."""
    lab.issue("ACME")
    with lab.services:
        write_board(BoardRequest(tmp_path / "one"), lab.services)
        assert "ACME" not in (tmp_path / "one" / "index.html").read_text()
        section = lab.services.configuration.board.model_copy(update={"customers": True})
        lab.services.configuration = lab.services.configuration.model_copy(update={"board": section})
        report = write_board(BoardRequest(tmp_path / "two"), lab.services)
    assert report.board.notes == ()
    assert "ACME" in (tmp_path / "two" / "index.html").read_text()


def test_what_a_promotion_left_when_it_died(full: Product) -> None:
    """It is on its way, or has to be looked at."""
    full.sign_off("8.2.0-rc1/60")
    ident = "8.2.0-rc1/60"
    journal = full.candidate(ident) / "journal"
    full.ok("promote", "run", ident)
    done = max(journal.iterdir())
    promotion = next((full.candidate(ident) / "attestations").glob("*-promotion.dsse.json"))
    done.unlink()
    promotion.unlink()
    result, _ = write(full)
    found = line(result, ident)
    assert (found["waitsFor"], found["command"]) == (
        "the end of a promotion",
        f"jenkins-release promote run {ident}",
    )
    assert "began it on " in found["reasons"][0]


def test_as_a_function_of_the_package(full: Product, tmp_path: Path) -> None:
    """What pipelines in Python write."""
    with Services(load_configuration(environ=full.environ), environ=full.environ) as services:
        report = write_board(BoardRequest(tmp_path / "x"), services)
    assert report.places == (str(tmp_path / "x"),)
    assert {each.name for each in (tmp_path / "x").iterdir()} >= {"index.html", "page.css", "board.json"}
    assert [each.ident for each in report.board.of("released")] == ["8.1.0/42", "8.0.4/7"]


def test_a_version_that_is_gone_leaves_no_page(shop: Shop) -> None:
    """A workspace keeps the folder: an old page beside the new ones would be archived with them."""
    shop.publish()
    shop.publish("8.1.1", build="50")
    _, folder = write(shop)
    (folder / "version-of-mine.html").write_text("x")
    shutil.rmtree(shop.candidates / "SkyDRM" / "8.1.1")
    shutil.rmtree(shop.releases / "SkyDRM" / "8.1.1")
    write(shop)
    assert sorted(each.name for each in folder.glob("version-*.html")) == [
        "version-8.1.0.html",
        "version-of-mine.html",
    ]


class TestKept:
    def test_a_place_has_to_be_named(self, shop: Shop) -> None:
        """On the command line or in the configuration."""
        done = shop.run("release", "board")
        assert done.status == 2
        assert "give --out, or set board.share or board.portal" in done.err

    def test_on_the_share_each_change_writes_it_again(self, shop: Shop) -> None:
        """Export, sign-off, publication, withdrawal: a whole folder each time, and nothing beside it."""
        shop.config.write_text("[board]\nshare = 'boards'\n" + shop.config.read_text())
        shop.publish()
        place = shop.releases / "boards" / "SkyDRM"
        first = json.loads((place / "board.json").read_text())
        assert line(first, "8.1.0/42")["stages"]["Published"]["state"] == "published"
        shop.ok("release", "portal", "8.1.0")
        then = json.loads((place / "board.json").read_text())
        assert line(then, "8.1.0/42")["stages"]["Portal"]["state"] == "uploaded"
        assert then["asOf"] > first["asOf"]
        shop.ok("release", "withdraw", "8.1.0", "--reason", "bad")
        gone = json.loads((place / "board.json").read_text())
        assert line(gone, "8.1.0/42")["support"] == "withdrawn"
        assert [each.name for each in (shop.releases / "boards").iterdir() if each.is_dir()] == ["SkyDRM"]
        assert shop.ok("release", "list")["releases"][0]["version"] == "8.1.0"

    def test_on_a_share_over_smb(self, full: Product) -> None:
        """Replaced as often as something changes."""
        full.append("[board]\nshare = 'for/people'\n")
        place = full.releases / "for" / "people" / "SkyDRM"
        for verdict, group in (("fail", "problem"), ("pass", "waiting")):
            full.sign_off("8.2.0-rc1/60", verdict)
            found = json.loads((place / "board.json").read_text())
            assert line(found, "8.2.0-rc1/60")["group"] == group
        assert [each.name for each in place.parent.iterdir() if each.is_dir()] == ["SkyDRM"]

    def test_a_dry_run_or_a_look_writes_none(self, shop: Shop) -> None:
        """Nothing changed."""
        shop.publish()
        shop.config.write_text("[board]\nshare = 'boards'\n" + shop.config.read_text())
        shop.ok("candidate", "list")
        shop.ok("release", "withdraw", "8.1.0", "--reason", "bad", "--dry-run")
        assert not (shop.releases / "boards").exists()

    def test_a_board_that_fails_fails_no_step(self, shop: Shop) -> None:
        """It warns; what the command did is done."""
        shop.config.write_text("[board]\nshare = 'boards'\n" + shop.config.read_text())
        (shop.releases / "boards").write_text("in the way")
        shop.publish()
        done = shop.run("release", "withdraw", "8.1.0", "--reason", "bad", "--json")
        assert done.status == 0
        assert "the release board was not written: " in done.err
        assert done.json["changed"]

    def test_an_older_look_does_not_replace_a_newer_one(self, shop: Shop) -> None:
        """The slower of two commands may have looked first."""
        shop.config.write_text("[board]\nshare = 'boards'\n" + shop.config.read_text())
        shop.publish()
        kept = shop.releases / "boards" / "SkyDRM" / "board.json"
        at = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
        newer = json.loads(kept.read_text()) | {"asOf": (at + timedelta(minutes=9)).isoformat()}
        kept.write_text(json.dumps(newer))
        with replace(shop.services(), now=lambda: at) as services:
            write_board(BoardRequest(), services)
        assert json.loads(kept.read_text()) == newer

    @pytest.mark.parametrize("claimed", ["2999-01-01T00:00:00+00:00", "0001-01-01T00:00:00+14:00", "1"])
    def test_a_board_that_claims_a_moment_to_come_is_replaced(self, shop: Shop, claimed: str) -> None:
        """A wrong clock, or anyone who may write there, would have it shown for ever."""
        shop.config.write_text("[board]\nshare = 'boards'\n" + shop.config.read_text())
        shop.publish()
        kept = shop.releases / "boards" / "SkyDRM" / "board.json"
        kept.write_text(json.dumps(json.loads(kept.read_text()) | {"asOf": claimed}))
        shop.ok("release", "board")
        assert json.loads(kept.read_text())["asOf"] != claimed

    def test_what_a_writer_left_when_it_died(self, shop: Shop) -> None:
        """The earlier board and the unfinished one go with the next."""
        shop.config.write_text("[board]\nshare = 'boards'\n" + shop.config.read_text())
        boards = shop.releases / "boards"
        for name in (".before-SkyDRM-0123abcd", ".incoming-SkyDRM-0123abcd", ".before-Other-0123abcd"):
            (boards / name).mkdir(parents=True)
        shop.ok("release", "board")
        assert sorted(each.name for each in boards.iterdir() if each.is_dir()) == [
            ".before-Other-0123abcd",
            "SkyDRM",
        ]

    def test_in_the_bucket_of_the_portal(self, s3_shop: Shop, s3: S3Double, client: Any, bucket: str) -> None:
        """Beside the product, for those who may read the bucket; the first page is written last."""
        s3_shop.config.write_text("[board]\nportal = true\n" + s3_shop.config.read_text())
        s3_shop.publish()
        keys = [each["Key"] for each in client.list_objects_v2(Bucket=bucket)["Contents"]]
        boards = [key for key in keys if "boards/SkyDRM/" in key]
        assert {key.rpartition("/")[2] for key in boards} == {
            "index.html",
            "page.css",
            "board.json",
            "version-8.1.0.html",
        }
        index = next(key for key in boards if key.endswith("index.html"))
        found = client.get_object(Bucket=bucket, Key=index)
        assert found["ContentType"] == "text/html; charset=utf-8"
        assert found["CacheControl"] == "no-cache"
        assert s3.named("PutObject")[-1].key.endswith("index.html")
        s3_shop.ok("release", "portal", "8.1.0")

    @pytest.mark.parametrize(
        ("section", "message"),
        [
            ("share = 'SkyDRM/board'", "is in the folder of the releases of SkyDRM"),
            ("share = '../x'", "board.share"),
            ("portal = true", 'needs portal.kind = "s3" and portal.access = "presigned"'),
        ],
    )
    def test_where_it_may_not_be(self, shop: Shop, section: str, message: str) -> None:
        """Not among the releases, not outside the share, and not where customers look."""
        shop.config.write_text(f"[board]\n{section}\n" + shop.config.read_text())
        done = shop.run("candidate", "list")
        assert done.status == 2
        assert message in done.err
