"""An event as mail, and what every medium shows."""

from __future__ import annotations

from html import escape

from jenkins_release.base.moments import minute
from jenkins_release.base.text import web_address
from jenkins_release.base.version import PROGRAM
from jenkins_release.records.event import ReleaseEvent
from jenkins_release.records.message import Message

_SENT_BY = f"Sent by {PROGRAM}. Replies to this address are not read."
_CELL = "padding:2px 12px 2px 0;vertical-align:top"
_CODE = "font-family:monospace;background:#f2f2f2;padding:8px;white-space:pre-wrap"


def shown_facts(event: ReleaseEvent) -> list[tuple[str, str]]:
    """Return the facts about an event, as name and value, in reading order."""
    found = [
        ("by", event.by),
        ("when", minute(event.at)),
        *((fact.name, fact.value) for fact in event.facts),
        ("where", event.location),
        ("Jenkins build", event.build_url),
    ]
    return [(name, value) for name, value in found if value]


def shown_reasons(event: ReleaseEvent) -> list[str]:
    """Return why a step failed: the message, then all reasons; empty for other events."""
    if event.failure is None:
        return []
    message = f"{event.failure.category}: {event.failure.message}"
    # A message with one reason mostly repeats that reason.
    return [message, *(reason for reason in event.failure.reasons if reason not in message)]


def plain_text(event: ReleaseEvent) -> str:
    """Return an event as plain text."""
    facts = shown_facts(event)
    width = max(len(name) for name, _ in facts)
    lines = [event.title, "", *(f"{name.ljust(width)}  {value}" for name, value in facts)]
    reasons = shown_reasons(event)
    if reasons:
        lines += ["", reasons[0], *(f"  - {reason}" for reason in reasons[1:])]
    if event.next_step:
        lines += ["", event.next_step]
    if event.command:
        lines += ["", f"    {event.command}"]
    return "\n".join(lines)


def mail_message(event: ReleaseEvent) -> Message:
    """Return an event as mail: plain text, and the same as HTML."""
    text = f"{plain_text(event)}\n\n-- \n{_SENT_BY}\n"
    return Message(event.id, event.at, event.title, text, html=_html(event))


def _html(event: ReleaseEvent) -> str:
    """Return an event as HTML: nothing is fetched, every value is escaped."""
    rows = "".join(
        f'<tr><td style="{_CELL};color:#555">{escape(name)}</td>'
        f'<td style="{_CELL}">{_linked(value)}</td></tr>\n'
        for name, value in shown_facts(event)
    )
    parts = [f'<h2 style="font-size:18px">{escape(event.title)}</h2>', f"<table>\n{rows}</table>"]
    reasons = shown_reasons(event)
    if reasons:
        items = "".join(f"<li>{escape(reason)}</li>\n" for reason in reasons[1:])
        parts.append(f"<p><strong>{escape(reasons[0])}</strong></p>")
        parts += [f"<ul>\n{items}</ul>"] if items else []
    if event.next_step:
        parts.append(f"<p>{escape(event.next_step)}</p>")
    if event.command:
        parts.append(f'<pre style="{_CODE}">{escape(event.command)}</pre>')
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(event.title)}</title></head>\n"
        f'<body style="font-family:sans-serif;font-size:14px">\n{body}\n'
        f'<p style="color:#777;font-size:12px">{escape(_SENT_BY)}</p>\n</body></html>\n'
    )


def _linked(value: str) -> str:
    url = web_address(value)
    return f'<a href="{escape(url)}">{escape(url)}</a>' if url else escape(value)
