"""Events as messages: what they say, that they address nobody, that every medium takes them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from email import message_from_bytes
from typing import Any, get_args

import jsonschema
import pytest
from defusedxml import ElementTree
from hypothesis import given
from hypothesis import strategies as st

from jenkins_release.base.errors import ConfigurationError, GateRefused
from jenkins_release.cli.notify import EVENTS
from jenkins_release.config.notify import EventKind
from jenkins_release.notify.mail import MailNotifier
from jenkins_release.records.event import EventFailure, ReleaseEvent
from jenkins_release.rules.notices.chat import MAX_SLACK_BYTES, MAX_TEAMS_BYTES, webhook_message
from jenkins_release.rules.notices.events import (
    MAX_FACTS,
    MAX_REASONS,
    MAX_TEXT,
    failure_of,
    is_told,
    make_event,
)
from jenkins_release.rules.notices.mail import mail_message, plain_text
from tests.docs.pages import ROOT

NOW = datetime(2026, 11, 5, 14, 30, tzinfo=UTC)
BUILD = "https://jenkins.nextlabs.example/job/skydrm/42/"
HOSTILE = (
    "<!channel>",
    "<!here|here>",
    "<@U012345>",
    "@channel @everyone @here",
    "<users/all>",
    "<https://evil.example|click>",
    "[click](https://evil.example)",
    "<at>Everyone</at>",
    '"><script>alert(1)</script>',
    "{{DATE(2026-11-05T00:00:00Z,SHORT)}}",
    "line\r\nBcc: everybody@nextlabs.example",
    "line\u2028break \u202e turned \x1b[2J \x00",
    "```` `code` ````",
    "&lt;!channel&gt;",
    "{title} {nothing}",
    "\ud800",
)


def event(kind: Any = "candidate", **more: Any) -> ReleaseEvent:
    """An event with something in every field."""
    values: dict[str, Any] = {
        "event_id": "0af7651916cd43dd8448eb211c80319c",
        "product": "SkyDRM",
        "version": "8.1.0",
        "build": "42",
        "at": NOW,
        "by": "Blake",
        "build_url": BUILD,
        "location": r"\\nextlabs.com\share\SkyDRM\8.1.0\42",
        "facts": [("candidate.json", "sha256:00")],
        "next_step": "QA tests it:",
        "command": "jenkins-release candidate load 8.1.0/42",
    }
    return make_event(kind, **{**values, **more})


def failed(**more: Any) -> ReleaseEvent:
    values = {"step": "promote run", "category": "remote", "message": "the share is away", "hint": "wait"}
    return event("failed", failure=EventFailure(**{**values, **more}))


def hostile(text: str) -> ReleaseEvent:
    """An event in which somebody put a text wherever it is possible."""
    failure = EventFailure(step="promote run", category="bug", message=text, hint=text, reasons=(text,))
    texts = dict.fromkeys(("version", "build", "by", "location", "next_step", "command"), text)
    return event("failed", **texts, build_url=text, facts=[(text, text)], failure=failure)


def texts(document: Any) -> list[str]:
    """Every string in a JSON document."""
    if isinstance(document, str):
        return [document]
    children = document.values() if isinstance(document, dict) else document
    return [t for child in children for t in texts(child)] if isinstance(document, dict | list) else []


def document(made: ReleaseEvent, template: Any, own: str = "") -> Any:
    return json.loads(webhook_message(made, template, own).document)


@pytest.mark.parametrize("kind", get_args(EventKind))
def test_every_event_has_a_title_that_says_what_happened(kind: EventKind):
    """In one line, with product, version and build."""
    failure = EventFailure(step="promote run", category="remote", message="m")
    made = event(
        kind, verdict="pass" if kind == "signed-off" else "", failure=failure if kind == "failed" else None
    )
    assert "SkyDRM 8.1.0/42" in made.title
    assert made.title in plain_text(made)
    assert "{" not in made.title


def test_the_command_knows_every_event():
    """The command line spells them out, for a quick help."""
    assert get_args(EventKind) == EVENTS


def test_a_message_says_who_when_where_and_what_comes_next():
    """As text: an aligned list, then the next step with its command."""
    assert plain_text(event()).splitlines() == [
        "SkyDRM 8.1.0/42 is ready to be tested",
        "",
        "by              Blake",
        "when            2026-11-05 14:30 UTC",
        "candidate.json  sha256:00",
        r"where           \\nextlabs.com\share\SkyDRM\8.1.0\42",
        f"Jenkins build   {BUILD}",
        "",
        "QA tests it:",
        "",
        "    jenkins-release candidate load 8.1.0/42",
    ]


def test_a_failure_is_told_with_category_and_every_reason():
    """And the hint as the next step."""
    refusal = GateRefused("may not be promoted", hint="mend it", reasons=["no sign-off", "no approval"])
    made = event("failed", failure=failure_of(refusal, "promote run"))
    assert made.title == "SkyDRM 8.1.0/42: promote run failed"
    lines = plain_text(made).splitlines()
    place = lines.index("refused: may not be promoted")
    assert lines[place + 1 : place + 3] == ["  - no sign-off", "  - no approval"]


def test_of_a_bug_only_its_kind_is_told():
    """Anything may stand in the text of an exception that nobody expected."""
    made = failure_of(ValueError("hunter2"), "promote run")
    assert (made.category, "hunter2" in str(made)) == ("bug", False)
    assert "unexpected ValueError" in made.message


@pytest.mark.parametrize(
    ("category", "outside"),
    [
        *(("configuration", False), ("refused", False), ("lease", False)),
        *(("integrity", True), ("remote", True), ("bug", True)),
    ],
)
def test_on_a_terminal_an_answer_to_the_person_is_told_to_nobody_else(category: str, outside: bool):
    """In a Jenkins build every failure is told; outside, only what others have to hear of."""
    failure = EventFailure(step="promote run", category=category, message="m")
    assert is_told(failure, BUILD)
    assert is_told(failure, "") is outside


@pytest.mark.parametrize("text", HOSTILE)
def test_nobody_is_addressed_in_slack(text: str):
    """No `<` but that of our own link is left, and no `@` that begins a name; values are plain text."""
    made = document(hostile(text), "slack")
    for found in texts(made):
        assert not re.search(r"<(?!https?://[^|<>]+\|Jenkins build>)", found), found
        assert not re.search(r"@\w", found), found
    objects = [block["text"] for block in made["blocks"]]
    assert all(each["type"] == "plain_text" or each["verbatim"] for each in objects)
    assert (made["parse"], made["link_names"]) == ("none", False)


@pytest.mark.parametrize("text", HOSTILE)
def test_nobody_is_addressed_in_teams(text: str):
    """Only text runs, in which nothing is Markdown, no mention entity, and no action but a web link."""
    made = document(hostile(text), "teams")
    card = made["attachments"][0]["content"]
    assert "entities" not in card["msteams"]
    for block in card["body"]:
        assert block["type"] == "RichTextBlock"
        assert {run["type"] for run in block["inlines"]} == {"TextRun"}
    assert all(action["url"].startswith("https://") for action in card.get("actions", []))
    assert not [found for found in texts(made) if re.search(r"@\w", found)]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_gets_into_the_html(text: str):
    """The page stays well-formed with the elements that we made, and links lead to the web only."""
    html = mail_message(hostile(text)).html
    page = ElementTree.fromstring(html.partition("\n")[2].replace('<meta charset="utf-8">', ""))
    ours = {"html", "head", "title", "body", "h2", "table", "tr", "td", "a", "p", "strong", "ul", "li", "pre"}
    assert {element.tag for element in page.iter()} <= ours
    assert all(link.get("href").startswith(("http://", "https://")) for link in page.iter("a"))


@pytest.mark.parametrize("text", HOSTILE)
def test_no_header_gets_into_a_mail(text: str):
    """A line break in a version is shown, not obeyed."""
    notifier = MailNotifier("127.0.0.1", 25, "none", sender="a@x.example", to=["b@x.example"])
    composed = notifier._compose(mail_message(hostile(text))).as_bytes()
    mail = message_from_bytes(composed)
    assert mail["Bcc"] is None
    assert [name for name, _ in mail.items()].count("To") == 1


@given(st.text(max_size=3000), st.integers(0, 100))
def test_every_medium_takes_every_event(text: str, number: int):
    """Whatever stands in it, and however much: within the limits of Teams, Slack and our own document."""
    failure = EventFailure(
        step="promote run", category="remote", message=text, hint=text, reasons=(text,) * number
    )
    made = event("failed", by=text, facts=[(f"fact {n}", text) for n in range(number)], failure=failure)
    assert len(made.facts) <= MAX_FACTS
    assert made.failure is not None
    assert len(made.failure.reasons) <= MAX_REASONS
    assert max(map(len, texts(made.model_dump(mode="json")))) <= MAX_TEXT
    assert len(webhook_message(made, "teams").document) <= MAX_TEAMS_BYTES
    message = webhook_message(made, "slack")
    assert len(message.document) <= MAX_SLACK_BYTES
    blocks = json.loads(message.document)["blocks"]
    assert len(blocks) <= 50
    assert all(1 <= len(block["text"]["text"]) <= 3000 for block in blocks)
    assert len(blocks[0]["text"]["text"]) <= 150
    assert "\n" not in mail_message(made).subject


def test_the_largest_event_fits_everywhere():
    """The worst case: every bound reached, with letters that take four bytes or five characters."""
    for letter in ("\U0001f600", "&", "<"):
        text = letter * 3000
        failure = EventFailure(step="s", category="remote", message=text, hint=text, reasons=(text,) * 99)
        made = event(
            "failed", facts=[(text, text)] * 99, by=text, version=text, failure=failure, next_step=text
        )
        assert len(webhook_message(made, "teams").document) <= MAX_TEAMS_BYTES
        message = webhook_message(made, "slack")
        assert len(message.document) <= MAX_SLACK_BYTES
        assert all(len(block["text"]["text"]) <= 3000 for block in json.loads(message.document)["blocks"])


def test_our_own_document_is_the_one_of_the_schema():
    """docs/schema/event-v1.json."""
    schema = json.loads((ROOT / "docs" / "schema" / "event-v1.json").read_text())
    for made in (event(), failed(), event("signed-off", verdict="fail", test=True)):
        jsonschema.Draft202012Validator(schema).validate(document(made, "json"))
        assert document(made, "json")["schema"] == "jenkins-release/event/v1"


def test_a_test_message_says_so_in_its_first_word():
    """Nobody promotes because of it."""
    assert event(test=True).title.startswith("[Test] ")


def test_an_event_is_redacted_before_it_is_shortened():
    """Half a secret would be found by nobody."""
    secret = "hunter2-hunter2-hunter2"
    text = "x" * (MAX_TEXT - 5) + secret
    made = event(facts=[("a", text)], by=secret, redact=lambda t: t.replace(secret, "[redacted]"))
    assert "hunter2" not in made.to_bytes().decode()


OWN = '{"cards": [{"header": "{title}", "n": 1, "text": ["{{{event}}}", "{reasons}"]}], "{title}": null}'


def test_a_template_of_ones_own_is_filled_within_its_strings():
    """Structure, numbers and names of fields stay."""
    made = failed(reasons=("one", 'two", "x": "'))
    assert document(made, "json", OWN) == {
        "cards": [
            {
                "header": "SkyDRM 8.1.0/42: promote run failed",
                "n": 1,
                "text": ["{failed}", 'one\ntwo", "x": "'],
            }
        ],
        "{title}": None,
    }


@pytest.mark.parametrize("text", HOSTILE)
def test_nobody_is_addressed_by_a_template_of_ones_own(text: str):
    """What follows `@` and `<` is parted from it: no receiver reads a mention."""
    (found,) = document(hostile(text), "json", '["{text} {version} {reasons} {facts}"]')
    assert not re.search(r"[@<]\S", found.replace("\u2060", " "))


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('["\\ud800"]', "surrogates"),
        ('["{nothing}"]', "{nothing}"),
        ('["{"]', "{"),
    ],
)
def test_a_wrong_template_is_named(own: str, said: str):
    """With the fields that there are."""
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        webhook_message(event(), "json", own)
