"""An event as the document for a webhook: for Teams, for Slack, ours, or from a template.

Nothing in an event may mention people: anyone who can start a build may have written a version, a reason or
an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Literal

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.text import shortened, web_address
from jenkins_release.records.event import ReleaseEvent
from jenkins_release.records.message import Message
from jenkins_release.rules.notices.mail import plain_text, shown_facts, shown_reasons

Template = Literal["teams", "slack", "json"]
MAX_TEAMS_BYTES = 27_000
"""Teams refuses messages of more than 28 KB (Microsoft: "Limits and specifications for Teams")."""
MAX_SLACK_BYTES = 36_000
_SLACK_HEADER = 150
_SLACK_SECTION = 3000
"""Maximum characters of a header and a section's text (Slack: "Block Kit reference", header and section)."""
_SIZES = ((1000, 40), (300, 20), (120, 10), (60, 4))
"""Limits for a value, for facts and for reasons: if the document is too long, the next line applies."""
_FIELD = re.compile(r"\{\{|\}\}|\{([a-z_]+)\}|[{}]")
_WORD_JOINER = "\u2060"


def webhook_message(event: ReleaseEvent, template: Template, own: str = "") -> Message:
    """Return an event as a webhook accepts it.

    Args:
        event: The event.
        template: The format.
        own: Text of a template file, which is used instead.

    Raises:
        ConfigurationError: The template is not JSON, or names an unknown field.
    """
    if own:
        document: Any = fill_template(own, event)
    elif template == "teams":
        document = _fitting(event, _teams, MAX_TEAMS_BYTES)
    elif template == "slack":
        document = _fitting(event, _slack, MAX_SLACK_BYTES)
    else:
        document = event.model_dump(mode="json", by_alias=True, exclude_none=True)
    return Message(event.id, event.at, event.title, plain_text(event), document=_bytes(document))


def fill_template(own: str, event: ReleaseEvent) -> Any:
    """Fill a JSON template: ``{title}`` and other fields in its strings, ``{{`` for a brace.

    It is read as JSON first and filled afterwards, so no value can change its structure.

    Raises:
        ConfigurationError: It is not JSON, or names an unknown field.
    """
    try:
        document = json.loads(own)
        json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair is not text
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigurationError(
            f"notify.template_file is not JSON: {reason}", hint="docs/notifications.md has an example"
        ) from error
    fields = {name: _without_mentions(value) for name, value in template_fields(event).items()}

    def value_of(match: re.Match[str]) -> str:
        if match[0] in {"{{", "}}"}:
            return match[0][0]
        if match[1] not in fields:
            raise ConfigurationError(
                f"notify.template_file has {match[0]}, which is not a field",
                hint=f"fields are {', '.join(fields)}; write a literal brace twice",
            )
        return fields[match[1]]

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            return _FIELD.sub(value_of, value)
        if isinstance(value, list):
            return [fill(item) for item in value]
        if isinstance(value, dict):
            return {key: fill(item) for key, item in value.items()}
        return value

    return fill(document)


def template_fields(event: ReleaseEvent) -> dict[str, str]:
    """Return the fields of a template and their values."""
    failure = event.failure
    return {
        "id": event.id,
        "event": event.event,
        "title": event.title,
        "text": plain_text(event),
        "product": event.product,
        "version": event.version,
        "build": event.build,
        "at": f"{event.at.isoformat()}",
        "by": event.by,
        "build_url": event.build_url,
        "location": event.location,
        "verdict": event.verdict,
        "facts": "\n".join(f"{fact.name}: {fact.value}" for fact in event.facts),
        "next_step": event.next_step,
        "command": event.command,
        "step": failure.step if failure else "",
        "category": failure.category if failure else "",
        "message": failure.message if failure else "",
        "hint": failure.hint if failure else "",
        "reasons": "\n".join(failure.reasons) if failure else "",
    }


def _fitting(
    event: ReleaseEvent, make: Callable[[ReleaseEvent, int, int], dict[str, Any]], limit: int
) -> dict[str, Any]:
    """Return the document with as much in it as the receiver accepts."""
    document: dict[str, Any] = {}
    for characters, number in _SIZES:
        document = make(event, characters, number)
        if len(_bytes(document)) <= limit:
            break
    return document


def _listed(event: ReleaseEvent, characters: int, number: int) -> tuple[list[tuple[str, str]], list[str]]:
    """Return facts and reasons, shortened and escaped."""
    facts = [
        (_without_mentions(name), shortened(_without_mentions(value), characters))
        for name, value in shown_facts(event)
        if value != event.build_url or not web_address(value)  # the build URL becomes a link
    ]
    reasons = [shortened(_without_mentions(reason), characters) for reason in shown_reasons(event)]
    left_out = max(0, len(facts) - number) + max(0, len(reasons) - number)
    reasons = reasons[:number] + ([f"... and {left_out} more, see the build"] if left_out else [])
    return facts[:number], reasons


def _teams(event: ReleaseEvent, characters: int, number: int) -> dict[str, Any]:
    """Return the envelope for a Teams workflow, with an Adaptive Card.

    Text runs are shown literally; TextBlock and FactSet would interpret Markdown. Only an entry in
    ``msteams.entities`` mentions people, and there is none.
    """
    facts, reasons = _listed(event, characters, number)
    title = _run(_without_mentions(event.title), size="Large", weight="Bolder")
    body = [_runs(title)]
    body += [_runs(_run(f"{name}: ", weight="Bolder"), _run(value)) for name, value in facts]
    body += [
        _runs(_run(reason, color="Attention" if not n else "Default")) for n, reason in enumerate(reasons)
    ]
    if event.next_step:
        body.append(_runs(_run(shortened(_without_mentions(event.next_step), characters))))
    if event.command:
        body.append(_runs(_run(shortened(_without_mentions(event.command), 400), fontType="Monospace")))
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": _without_mentions(event.title),
        "body": body,
        "msteams": {"width": "Full"},
    }
    if url := web_address(event.build_url):
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Jenkins build", "url": url}]
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


def _run(text: str, **form: str) -> dict[str, Any]:
    return {"type": "TextRun", "text": text, **form}


def _runs(*inlines: dict[str, Any]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": list(inlines)}


def _slack(event: ReleaseEvent, characters: int, number: int) -> dict[str, Any]:
    """Return a message with blocks, with the title as the notification text.

    Values are plain text objects; ``verbatim`` and ``parse`` keep Slack from reading names in the rest.
    """
    facts, reasons = _listed(event, characters, number)
    title = _escaped(_without_mentions(event.title))
    blocks = [{"type": "header", "text": _words(_cut(title, _SLACK_HEADER))}]
    for lines in (
        [f"{name}: {value}" for name, value in facts],
        [f"{'- ' if n else ''}{reason}" for n, reason in enumerate(reasons)],
        [shortened(_without_mentions(event.next_step), characters)] if event.next_step else [],
    ):
        blocks += [_section(_words(text)) for text in _pages(lines)]
    if event.command:
        command = _escaped(_without_mentions(event.command)).replace("`", "'")
        blocks.append(_section(_marked(f"```{_cut(command, characters)}```")))
    if url := web_address(event.build_url):
        blocks.append(_section(_marked(f"<{_escaped(url)}|Jenkins build>")))
    quiet = {"mrkdwn": False, "parse": "none", "link_names": False, "unfurl_links": False}
    return {"text": title, "blocks": blocks, **quiet}


def _pages(lines: list[str]) -> list[str]:
    """Return the lines, escaped, in texts that each fit a section."""
    pages: list[str] = []
    for line in lines:
        escaped = _cut(_escaped(line), _SLACK_SECTION)
        if pages and len(pages[-1]) + 1 + len(escaped) <= _SLACK_SECTION:
            pages[-1] += f"\n{escaped}"
        else:
            pages.append(escaped)
    return pages


def _section(text: dict[str, Any]) -> dict[str, Any]:
    return {"type": "section", "text": text}


def _words(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _marked(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _escaped(text: str) -> str:
    """Escape what starts a mention or a link in Slack ("Formatting text for app surfaces")."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(escaped: str, limit: int) -> str:
    """Shorten escaped text, but never inside an escape."""
    return escaped if len(escaped) <= limit else re.sub(r"&[a-z]{0,3}\Z", "", escaped[: limit - 3]) + "..."


def _without_mentions(text: str) -> str:
    """Separate ``@`` and ``<`` invisibly from what follows, so that @channel and <users/all> do not work."""
    return re.sub(r"[@<](?=\S)", lambda match: match[0] + _WORD_JOINER, text)


def _bytes(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, indent=None).encode("utf-8", "replace")
