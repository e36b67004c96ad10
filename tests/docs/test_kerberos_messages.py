"""The messages of failed logins in docs/devops.md are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from jenkins_release.share.smb import errors, kerberos

PAGE = Path(__file__).parents[2] / "docs" / "devops.md"


def test_every_message_of_the_table_exists() -> None:
    """Each names a status of Kerberos with its words, or ends as a login by NTLM does."""
    section = PAGE.read_text().partition("### Kerberos\n")[2].partition("\n### ")[0]
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    shown = [text for row in rows for text in re.findall(r"`([^`]*: K[A-Z0-9_]+)`", row)]
    assert len(shown) >= 8
    told = {f"{meaning.text}: {meaning.name}" for meaning in kerberos._MEANINGS.values()}
    for text in shown:
        assert any(each.endswith(text.removeprefix("... ")) for each in told), text
    assert "; it may not accept NTLM" in section
    assert "; it may not accept NTLM" in Path(errors.__file__).read_text()
