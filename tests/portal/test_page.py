"""The portal's page: its HTML, and what Debian's Chromium makes of it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import expect

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.portal.markdown import render_markdown
from jenkins_release.portal.memory import read_memory
from jenkins_release.portal.page import LineSupport, Page, PageFile, PageRelease, human_size, render_page
from jenkins_release.portal.system import system_of
from jenkins_release.rules.release.portal import line_name
from tests.fixtures.browser import SCREENSHOTS, VIEWS, Site

PHONE = {"width": 320, "height": 640}
DESKTOP = {"width": 1280, "height": 900}
NOTES = """\
# What is new

- Rights of **shared** files are shown.
- Faster decryption: see [the guide](https://docs.example/guide).

### Known limits

| system | since |
|---|---|
| Windows 11 | 8.1.0 |

```
Very-long-line-of-a-log-that-nobody-would-break-by-hand-0123456789-0123456789-0123456789-0123456789
```
"""
GUIDE = """\
# Before you begin

1. Download the installer.
2. Check its SHA-256.

## Silent installation

    msiexec /i SkyDRM-8.1.1.msi /qn
"""


def sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def release(version: str, *names: str, notes: str = "") -> PageRelease:
    made = names or (
        f"installers/SkyDRM-{version}.msi",
        f"installers/SkyDRM-{version}.x86_64.rpm",
        f"SkyDRM-setup-{version}.zip",
    )
    found = tuple(page_file(version, name) for name in made)
    parsed = ReleaseVersion.parse(version)
    line = line_name(parsed, "major.minor")
    return PageRelease(version, line, date(2026, 11, 3), found, notes, final=parsed.final)


def page_file(version: str, name: str) -> PageFile:
    own = name.rpartition("/")[2]
    kind = "setup" if "setup" in own else "sbom" if own.endswith(".spdx.json") else "installer"
    return PageFile(f"{version}/{name}", 123_456_789, sha(name), kind, system_of(own, kind, {}))


RELEASES = (release("8.1.1", notes=NOTES), release("8.1.0", notes="Bugs were fixed."), release("8.0.4"))
PAGE = Page("SkyDRM downloads", "SkyDRM", RELEASES, GUIDE, links=True)
MANY = tuple(
    f"installers/SkyDRM-8.2.0{end}"
    for end in (
        "-x64.msi",
        "-arm64.msi",
        ".dmg",
        ".x86_64.rpm",
        "_amd64.deb",
        "-agent.tar.gz",
        "-setup.zip",
        "-rms.spdx.json",
    )
)
FULL = Page(
    "NextLabs SkyDRM",
    "SkyDRM",
    (
        replace(release("8.2.0", *MANY, notes=NOTES), upgrade="# Before you upgrade\n\nSave your data.\n"),
        *RELEASES,
        release("8.3.0-rc1"),
    ),
    GUIDE,
    links=True,
    support={"8.2": LineSupport(None, 2), "8.1": LineSupport(date(2027, 3, 31), 1)},
    logo="page/logo.svg",
    colour="#ffd400",
)
LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 140 40" width="140" height="40">'
    '<rect width="40" height="40" rx="8" fill="#1b1f24"/><path d="M8 20l8 8 16-16" stroke="#ffd400" '
    'stroke-width="5" fill="none"/><text x="50" y="27" font-size="20" font-family="sans">SkyDRM</text></svg>'
)
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(1)</script>{{7*7}}&amp;'


class Outline(HTMLParser):
    """Tags of a page, in order, and those that were not closed."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} ends where another is open"

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def text_of(html: str) -> str:
    """Return what people read of a page."""
    return " ".join(re.sub(r"<[^>]+>", " ", html.partition("</style>")[2]).split())


class TestHtml:
    def test_names_titles_and_texts_of_anybody_are_only_text(self) -> None:
        """No tag, attribute or script comes from a name or from Markdown."""
        plain = Outline(render_page(PAGE))
        bad = replace(release("8.1.1", f"installers/{HOSTILE}.msi"), notes=f"# {HOSTILE}\n\n{HOSTILE}\n")
        page = Page(HOSTILE, HOSTILE, (bad,), f"{HOSTILE}\n\n<script>alert(1)</script>\n", links=True)
        found = Outline(render_page(page))
        assert found.open == []
        assert len(found.of("script")) == len(plain.of("script")) == 1
        assert found.of("img") == []
        assert {name for _, attributes in found.tags for name in attributes if name.startswith("on")} == set()
        assert "49" not in re.findall(r"\{\{[^}]*\}\}|49", render_page(page).decode())

    @pytest.mark.parametrize(
        "name", ["a b.msi", "50%+#1?.msi", 'it\'s "x".msi', "Überblick.msi", "javascript:x.msi", "日本語.zip"]
    )
    def test_addresses_lead_to_the_file_whatever_its_name(self, name: str) -> None:
        """Relative, with everything escaped that means something in an address."""
        from urllib.parse import unquote, urljoin, urlsplit

        page = replace(PAGE, releases=(release("8.1.1", f"installers/{name}"),))
        links = [a["href"] for a in Outline(render_page(page)).of("a") if "download" in a]
        target = urlsplit(urljoin("https://h/SkyDRM/index.html", str(links[0])))
        assert unquote(target.path) == f"/SkyDRM/8.1.1/installers/{name}"
        assert (target.netloc, target.query, target.fragment) == ("h", "", "")

    def test_every_file_stands_with_size_and_hash(self) -> None:
        """What customers compare with."""
        html = render_page(PAGE).decode()
        for each in RELEASES:
            for file in each.files:
                assert file.sha256 in html
                assert f">{file.name}<" in html
        assert html.count("123.5 MB") == 9

    @pytest.mark.parametrize(
        ("versions", "newest", "headings"),
        [
            (["8.1.0"], "8.1.0", ["8.1.0"]),
            (["8.1.0", "8.0.1", "8.0.0"], "8.1.0", ["8.1.0", "8.0.1"]),
            (["9.0.0-rc1", "8.1.0", "8.0.0-hotfix2", "8.0.0"], "8.1.0", ["8.1.0", "8.0.0-hotfix2"]),
        ],
    )
    def test_the_newest_version_of_each_line_comes_first(
        self, versions: list[str], newest: str, headings: list[str]
    ) -> None:
        """No pre-release is offered as the newest version."""
        html = render_page(replace(PAGE, releases=tuple(map(release, versions)))).decode()
        assert f"Newest version: SkyDRM {newest} for Windows, Linux and Containers" in text_of(html)
        found = re.findall(r"<h2 id=\"version-[^>]+>SkyDRM ([^<]+)<", html)
        assert found == headings
        assert ("Pre-releases" in text_of(html)) == ("9.0.0-rc1" in versions)
        assert all(f'id="version-{version}"' in html for version in versions)

    def test_files_are_in_the_group_of_their_system(self) -> None:
        """The usual systems first; what is for no known system is in a group of its own, last."""
        (first, *_) = FULL.lines
        assert [system for system, _ in first.newest.systems] == [
            "Windows",
            "macOS",
            "Linux",
            "Containers",
            "Other files",
        ]
        html = render_page(FULL).decode()
        assert html.index(">Windows</h3>") < html.index("-x64.msi") < html.index(">macOS</h3>")
        assert html.index(">Other files</h3>") < html.index("-agent.tar.gz")
        said = text_of(html)
        assert "Windows Installer package, 64-bit ARM, 123.5 MB" in said
        assert "Bills of materials and vulnerability statements of 8.2.0" in said

    @pytest.mark.parametrize(
        ("support", "said"),
        [
            (LineSupport(None, 1), "Supported until the next line is released."),
            (LineSupport(None, 2), "Supported until two newer lines are released."),
            (LineSupport(date(2027, 3, 31), 1), "Supported until 31 March 2027 ."),
        ],
    )
    def test_each_line_says_how_long_it_is_supported(self, support: LineSupport, said: str) -> None:
        """The last day if it is configured; else when the support window moves on."""
        assert said in text_of(render_page(replace(PAGE, support={"8.0": support})).decode())
        assert "Supported until" not in text_of(render_page(PAGE).decode())

    @pytest.mark.parametrize("colour", ["", "#ffd400", "#000000", "#ffffff", "#777777", "#FF0000", "#14181d"])
    def test_the_products_colour_is_in_the_style(self, colour: str) -> None:
        """The policy names the hash of the style with it; the logo is the only thing that is loaded."""
        html = render_page(replace(PAGE, colour=colour, logo="page/logo.png"))
        style = re.search(rb"<style>(.*?)</style>", html, re.DOTALL)
        assert style is not None
        assert f"--brand: {colour.lower() or '#0b4fa8'};".encode() in style[1]
        digest = base64.b64encode(hashlib.sha256(style[1]).digest()).decode()
        policy = str(next(m["content"] for m in Outline(html).of("meta") if "http-equiv" in m))
        assert f"style-src 'sha256-{digest}'" in policy
        assert "img-src 'self'" in policy
        assert [i["src"] for i in Outline(html).of("img")] == ["./page/logo.png"]
        assert b"img-src" not in render_page(PAGE)

    def test_nothing_is_loaded_from_anywhere(self) -> None:
        """The policy allows our own style and script by their hash, and nothing else."""
        html = render_page(PAGE)
        outline = Outline(html)
        policy = str(next(m["content"] for m in outline.of("meta") if "http-equiv" in m))
        for tag, directive in (("style", "style-src"), ("script", "script-src")):
            text = re.search(rf"<{tag}>(.*?)</{tag}>".encode(), html, re.DOTALL)
            assert text is not None
            digest = base64.b64encode(hashlib.sha256(text[1]).digest()).decode()
            assert f"{directive} 'sha256-{digest}'" in policy
        assert "default-src 'none'" in policy
        for _, attributes in outline.tags:
            assert not {"src", "style", "action", "srcset"} & set(attributes)
        assert outline.of("link") == []

    def test_without_public_access_files_are_no_links(self) -> None:
        """Customers are told how they get them; nothing leads to a refusal."""
        html = render_page(replace(PAGE, links=False))
        assert [
            a["href"] for a in Outline(html).of("a") if not str(a["href"]).startswith(("#", "https"))
        ] == []
        assert b"support team sends you a link" in html

    def test_a_page_without_releases(self) -> None:
        """It says so."""
        html = render_page(replace(PAGE, releases=(), guide=""))
        assert b"There is currently no version of SkyDRM to download" in html
        assert Outline(html).of("h2") == [{"id": "verify"}]

    def test_the_same_page_twice_is_the_same_bytes(self) -> None:
        """A page that did not change is not written."""
        assert render_page(PAGE) == render_page(PAGE)

    @pytest.mark.parametrize(
        ("count", "shown"),
        [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (123_456_789, "123.5 MB"),
            (5 * 10**12, "5000.0 GB"),
        ],
    )
    def test_sizes(self, count: int, shown: str) -> None:
        """Decimal units, as browsers and disks tell them."""
        assert human_size(count) == shown

    def test_the_page_is_part_of_the_package(self) -> None:
        """Template, style and script are installed."""
        folder = files("jenkins_release.portal") / "page"
        assert {each.name for each in folder.iterdir()} >= {"page.html", "page.css", "page.js"}


class TestMarkdown:
    @pytest.mark.parametrize(
        "text",
        [
            "[a](javascript:alert(1))",
            "[a](JaVaScRiPt:alert(1))",
            "[a](data:text/html,x)",
            "[a](vbscript:x)",
            "[a](file:///etc/passwd)",
            "[a](//evil.example/x)",
            "[a](/etc)",
            "[a](x.md)",
            "<javascript:alert(1)>",
            "[a]: javascript:x\n\n[a]",
            "[a](&#106;avascript:alert(1))",
            "[a](https:)",
        ],
    )
    def test_links_that_are_not_to_the_web_are_no_links(self, text: str) -> None:
        """Only https, http and mailto."""
        assert "<a" not in render_markdown(text, level=3)

    @pytest.mark.parametrize(
        "href", ["https://a.example/b?c=d", "http://a.example", "mailto:support@a.example"]
    )
    def test_links_to_the_web_stay(self, href: str) -> None:
        """Without a way back to the page."""
        found = render_markdown(f"[a]({href})", level=3)
        assert f'<a href="{href}" rel="noopener noreferrer">a</a>' in found

    def test_html_is_shown_as_text(self) -> None:
        """In a line, as a block, and in a heading."""
        for text in (
            "a <b>b</b>",
            "<div>\n\nx\n\n</div>",
            "# <script>alert(1)</script>",
            "<!-- x -->",
            "<?x?>",
        ):
            found = render_markdown(text, level=3)
            assert re.findall(r"<(?!/?(?:p|h3)>)", found) == [], found

    def test_an_image_is_its_description(self) -> None:
        """A page of the portal asks no other server."""
        found = render_markdown(
            "![a *chart*](https://a.example/x.png) [![x](y.png)](https://a.example)", level=3
        )
        assert "<img" not in found
        assert "a chart" in found

    @pytest.mark.parametrize(
        ("text", "levels"),
        [
            ("# a\n## b\n# c", [3, 4, 3]),
            ("### a\n# b\n### c\n## d", [3, 3, 4, 4]),
            ("# a\n#### b\n## c\n### d", [3, 4, 4, 5]),
            ("# a\n## b\n### c\n#### d\n##### e", [3, 4, 5, 6, 6]),
        ],
    )
    def test_headings_stay_in_order(self, text: str, levels: list[int]) -> None:
        """No level is left out below the one that the text stands under."""
        assert [int(n) for n in re.findall(r"<h(\d)>", render_markdown(text, level=3))] == levels

    def test_tables_name_their_columns(self) -> None:
        """For those who hear the page."""
        assert '<th scope="col">a</th>' in render_markdown("|a|b|\n|-|-|\n|1|2|\n", level=3)


@contextmanager
def opened(chromium: Any, url: str, *, logo: bool = False, **options: Any) -> Iterator[Any]:
    """Open a page; afterwards nothing may have been asked for but page and logo, and nothing complained."""
    context = chromium.new_context(**options)
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(url)
    yield page
    context.close()
    address = url.partition("#")[0]
    # A logo is asked for as the picture and as the tab's icon: no browser asks for a favicon.ico then.
    assert {*asked} == {address} | ({address.rpartition("/")[0] + "/page/logo.svg"} if logo else set())
    assert said == []


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page on a web server of loopback."""
    folder = tmp_path_factory.mktemp("www")
    (folder / "index.html").write_bytes(render_page(PAGE))
    (folder / "full.html").write_bytes(render_page(FULL))
    (folder / "page").mkdir()
    (folder / "page" / "logo.svg").write_text(LOGO)
    site = Site(folder)
    yield f"{site.url}/index.html"
    site.close()


def shot(page: Any, name: str) -> None:
    """Keep a picture of the whole page."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"portal-{name}.png", full_page=True)


class TestInChromium:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize(("name", "size"), [("phone", PHONE), ("desktop", DESKTOP)])
    def test_it_fits_and_everybody_can_use_it(
        self, chromium: Any, url: str, name: str, size: dict[str, int], scheme: str
    ) -> None:
        """No sideways scrolling; axe finds nothing: contrast, headings, landmarks, names of controls."""
        from axe_playwright_python.sync_playwright import Axe

        with opened(chromium, url, viewport=size, color_scheme=scheme, reduced_motion="reduce") as page:
            shot(page, f"{name}-{scheme}")
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
            found = Axe().run(page, options={"resultTypes": ["violations"]})
            assert found.violations_count == 0, found.generate_report()
            assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"

    @pytest.mark.parametrize("view", VIEWS)
    def test_the_first_screen_answers_which_version_and_which_file(
        self, chromium: Any, url: str, view: str
    ) -> None:
        """The newest version and a file of the first system, without scrolling; no table of files."""
        from axe_playwright_python.sync_playwright import Axe

        full = url.replace("index", "full")
        with opened(chromium, full, logo=True, reduced_motion="reduce", **VIEWS[view]) as page:
            shot(page, f"full-{view}")
            height = VIEWS[view]["viewport"]["height"]
            seen = [
                page.get_by_role("heading", name="SkyDRM 8.2.0", exact=True),
                page.get_by_role("heading", name="Windows", exact=True).first,
                page.get_by_role("link", name="SkyDRM-8.2.0-x64.msi"),
            ]
            if view != "phone":
                seen += [page.get_by_role("heading", name=name).first for name in ("macOS", "Linux")]
            for each in seen:
                box = each.bounding_box()
                assert box["y"] + box["height"] <= height, each
            assert page.locator(".logo").evaluate("logo => logo.naturalWidth") > 0
            assert page.evaluate("document.documentElement.scrollWidth") <= VIEWS[view]["viewport"]["width"]
            found = Axe().run(page, options={"resultTypes": ["violations"]})
            assert found.violations_count == 0, found.generate_report()

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("colour", ["#ffffff", "#000000", "#ffd400", "#777777", "#14181d", "#00ff00"])
    def test_any_colour_can_be_read(
        self, chromium: Any, tmp_path: Path, colour: str, scheme: Literal["light", "dark"]
    ) -> None:
        """Axe measures the contrast that Chromium shows, with pages from a folder too."""
        from axe_playwright_python.sync_playwright import Axe

        (tmp_path / "page").mkdir()
        (tmp_path / "page" / "logo.svg").write_text(LOGO)
        (tmp_path / "index.html").write_bytes(render_page(replace(FULL, colour=colour)))
        address = f"file://{tmp_path}/index.html"
        with opened(chromium, address, logo=True, viewport=DESKTOP, color_scheme=scheme) as page:
            assert page.locator(".logo").evaluate("logo => logo.naturalWidth") > 0
            found = Axe().run(page, options={"runOnly": ["color-contrast"]})
            assert found.violations_count == 0, found.generate_report()

    @pytest.mark.parametrize(
        ("today", "said"),
        [("2027-03-31", "Supported until 31 March 2027."), ("2027-04-01", "Support ended on 31 March 2027.")],
    )
    def test_a_page_that_is_old_does_not_promise_support(
        self, chromium: Any, url: str, today: str, said: str
    ) -> None:
        """The day is on the page; the script compares it with today's."""
        context = chromium.new_context(timezone_id="UTC")
        page = context.new_page()
        page.clock.set_fixed_time(f"{today}T12:00:00Z")
        page.goto(url.replace("index", "full"))
        expect(page.locator("#line-8\\.1 > .facts")).to_contain_text(said)
        context.close()

    @pytest.mark.parametrize("scripts", [True, False])
    def test_a_link_to_an_earlier_version_opens_it(self, chromium: Any, url: str, scripts: bool) -> None:
        """Addresses of versions that customers keep still lead there."""
        with opened(chromium, f"{url}#version-8.1.0", viewport=DESKTOP, java_script_enabled=scripts) as page:
            assert page.get_by_role("link", name="SkyDRM-8.1.0.msi").is_visible()

    def test_everything_is_on_paper(self, chromium: Any, url: str) -> None:
        """Also what is folded on the screen; nothing that only a screen can use."""
        with opened(
            chromium, url.replace("index", "full"), logo=True, viewport=DESKTOP, color_scheme="dark"
        ) as page:
            page.emulate_media(media="print")
            shot(page, "full-printed")
            assert page.get_by_text(sha("installers/SkyDRM-8.1.0.msi")).is_visible()
            assert page.get_by_text("Bugs were fixed.").is_visible()
            assert not page.get_by_role("button").first.is_visible()
            assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 36)"

    def test_a_long_name_and_a_single_word_fit_a_phone(self, chromium: Any, tmp_path: Path) -> None:
        """Names of 120 characters, and notes without a space."""
        long = release(
            "8.1.1", f"installers/{'x' * 116}.msi", notes=f"{'y' * 400}\n\n# {'z' * 200}\n\n`{'w' * 300}`\n"
        )
        page_of = Page("T" * 90, "SkyDRM", (long,), "v" * 300, links=True)
        (tmp_path / "index.html").write_bytes(render_page(page_of))
        with opened(chromium, f"file://{tmp_path}/index.html", viewport=PHONE) as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= 320

    def test_the_button_copies_the_hash(self, chromium: Any, url: str) -> None:
        """One for each file, with a name of its own; what it did is said to those who do not see it."""
        options = {"viewport": DESKTOP, "permissions": ["clipboard-read", "clipboard-write"]}
        with opened(chromium, url, **options) as page:
            assert page.locator("button").count() == 9
            page.get_by_role("button", name="Copy the SHA-256 of SkyDRM-8.0.4.msi").click()
            expect(page.get_by_role("status")).to_contain_text("Copied the SHA-256")
            assert page.evaluate("navigator.clipboard.readText()") == sha("installers/SkyDRM-8.0.4.msi")

    def test_the_button_works_where_the_clipboard_is_closed(self, chromium: Any, url: str) -> None:
        """Over plain HTTP browsers give no clipboard: the hash is selected, and copied the old way."""
        context = chromium.new_context(viewport=DESKTOP)
        page = context.new_page()
        page.add_init_script("Object.defineProperty(window, 'isSecureContext', {value: false})")
        page.goto(url)
        page.locator("button").first.click()
        assert page.evaluate("getSelection().toString()") == sha("installers/SkyDRM-8.1.1.msi")
        expect(page.get_by_role("status")).to_contain_text("SHA-256 of SkyDRM-8.1.1.msi")
        context.close()

    def test_it_works_without_scripts(self, chromium: Any, url: str) -> None:
        """Every file, hash and note is there; no button that would do nothing."""
        with opened(chromium, url, viewport=PHONE, java_script_enabled=False) as page:
            shot(page, "phone-without-scripts")
            assert page.locator("button").count() == 0
            assert page.locator("a[download]").count() == 9
            assert page.locator("code[data-copy]").first.is_visible()
            assert page.get_by_text("Rights of shared files are shown.").is_visible()
            page.get_by_text("Earlier versions of 8.1").click()
            page.get_by_text("Release notes of 8.1.0").click()
            assert page.get_by_text("Bugs were fixed.").is_visible()

    def test_it_is_used_by_keyboard(self, chromium: Any, url: str) -> None:
        """The first stop skips to the downloads; where the focus is can be seen."""
        with opened(chromium, url, viewport=DESKTOP) as page:
            page.keyboard.press("Tab")
            focused = page.locator(":focus")
            assert focused.inner_text() == "Skip to the downloads"
            assert focused.bounding_box()["x"] >= 0
            style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert style == "solid"
            page.keyboard.press("Enter")
            page.keyboard.press("Tab")
            assert focused.inner_text().endswith("SkyDRM-8.1.1.msi")
            page.keyboard.press("Tab")
            assert focused.get_attribute("aria-label") == "Copy the SHA-256 of SkyDRM-8.1.1.msi"
            page.keyboard.press("Enter")
            expect(page.get_by_role("status")).to_contain_text("SHA-256 of SkyDRM-8.1.1.msi")

    def test_hostile_texts_run_nothing(self, chromium: Any, tmp_path: Path) -> None:
        """Nothing is asked for, nothing pops up, the policy has nothing to refuse."""
        bad = replace(release("8.1.1", f"installers/{HOSTILE.replace('/', '')}.msi"), notes=f"{HOSTILE}\n")
        page_of = Page(HOSTILE, "SkyDRM", (bad,), HOSTILE, links=True)
        (tmp_path / "index.html").write_bytes(render_page(page_of))
        with opened(chromium, f"file://{tmp_path}/index.html", viewport=DESKTOP) as page:
            assert page.title() == HOSTILE
            assert page.evaluate("document.scripts.length") == 1


@pytest.mark.parametrize(
    "page",
    [
        b"<![foo[x]]>",
        b"\xff",
        b'<meta name="jenkins-release-chains" content="e30">',
        b'<meta name="jenkins-release-chains" content="bnVsbA==">',
        b'<meta name="jenkins-release-chains" content="e30="><meta name="jenkins-release-chains">',
    ],
    ids=["declaration", "no text", "padding", "null", "twice"],
)
def test_a_page_whose_memory_cannot_be_read_is_refused(page: bytes):
    """Whoever writes to the portal may have put anything there."""
    with pytest.raises(
        IntegrityError, match="what the page remembers about withdrawn releases cannot be read"
    ):
        read_memory(page, "the page")
