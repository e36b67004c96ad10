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
from typing import Any

import pytest
from playwright.sync_api import expect

from jenkins_release.base.errors import IntegrityError
from jenkins_release.portal.markdown import render_markdown
from jenkins_release.portal.memory import read_memory
from jenkins_release.portal.page import Page, PageFile, PageRelease, human_size, render_page
from tests.fixtures.browser import SCREENSHOTS, Site

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
    found = tuple(
        PageFile(f"{version}/{name}", 123_456_789, sha(name), "setup" if "setup" in name else "installer")
        for name in made
    )
    return PageRelease(version, version.rpartition(".")[0], date(2026, 11, 3), found, notes)


RELEASES = (release("8.1.1", notes=NOTES), release("8.1.0", notes="Bugs were fixed."), release("8.0.4"))
PAGE = Page("SkyDRM downloads", "SkyDRM", RELEASES, GUIDE, links=True)
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
        ("versions", "said"),
        [
            (["8.1.0"], "SkyDRM 8.1 is supported"),
            (["8.1.0", "8.0.1", "8.0.0"], "SkyDRM 8.1 and 8.0 are supported"),
            (["9.0.0-rc1", "8.1.0", "8.0.0"], "SkyDRM 9.0, 8.1 and 8.0 are supported"),
        ],
    )
    def test_the_lines_are_named(self, versions: list[str], said: str) -> None:
        """In a sentence that a person would write."""
        releases = tuple(replace(release(v), line=v[:3]) for v in versions)
        text = re.sub(r"<[^>]+>", "", render_page(replace(PAGE, releases=releases)).decode())
        assert f"{said}, with all patch releases." in " ".join(text.split())

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
        assert Outline(html).of("table") == []

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
def opened(chromium: Any, url: str, **options: Any) -> Iterator[Any]:
    """Open a page; afterwards nothing may have been asked for but the page, and nothing complained."""
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
    assert asked == [url]
    assert said == []


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page on a web server of loopback."""
    folder = tmp_path_factory.mktemp("www")
    (folder / "index.html").write_bytes(render_page(PAGE))
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
