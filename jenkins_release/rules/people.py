"""Names of people, compared so that upper case or another Unicode form makes no second person."""

from __future__ import annotations

import unicodedata


def person_key(name: str) -> str:
    """Return the form in which names are compared: NFKC, case folded, single spaces.

    Unicode Technical Report 36 ("Unicode Security Considerations"): compatibility forms such as
    full-width letters fold onto the plain ones. Look-alikes of other scripts stay different people.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    visible = "".join(letter for letter in folded if unicodedata.category(letter) not in {"Cf", "Cc"})
    return " ".join(visible.split())


def same_person(first: str, second: str) -> bool:
    """Whether two names are one person's; an empty name is nobody's."""
    return bool(person_key(first)) and person_key(first) == person_key(second)
