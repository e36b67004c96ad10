"""Names of people: no second person by case, Unicode form, or what shows nothing."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jenkins_release.base.people import People, people_with_keys, person_key

ONE = [
    ("Alex Baker", "alex baker"),
    ("Alex Baker", "ALEX BAKER"),
    ("Alex Baker", "  Alex \t Baker "),
    ("Alex Baker", "Alex\u00a0Baker"),
    ("Alex Baker", "Alex\u3000Baker"),
    ("Ren\u00e9", "Rene\u0301"),
    ("Ren\u00e9", "RENE\u0301"),
    ("Ren\u00e9", "Rene\u200b\u0301"),
    ("Alex", "\uff21\uff4c\uff45\uff58"),
    ("Alex", "\U0001d400\U0001d425\U0001d41e\U0001d431"),
    ("Alex", "A\u200blex"),
    ("Alex", "Alex\u200d"),
    ("Alex", "\u2060Alex\ufeff"),
    ("Alex", "Al\u00adex"),
    ("Alex", "\u202eAlex\u202c"),
    ("Alex", "Alex\ufe0f"),
    ("Alex", "Al\u034fex"),
    ("Alex", "Alex\u3164"),
    ("Alex", "Alex\U000e0041"),
    ("Stra\u00dfe", "STRASSE"),
    ("\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2", "\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c3"),
    ("o\ufb03ce", "office"),
]


@pytest.mark.parametrize(("first", "second"), ONE, ids=lambda name: ascii(name))
def test_forms_of_one_name_are_one_person(first, second):
    """Case, composition, width, style, invisible letters, spaces."""
    assert People().surely_same(first, second)
    assert People().surely_same(second, first)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Alex", "Alec"),
        ("Alex Baker", "AlexBaker"),
        ("Rene", "Ren\u00e9"),
        ("Alex", "\u0410lex"),
        ("", ""),
        ("\u200b", "\ufeff"),
    ],
    ids=lambda name: ascii(name),
)
def test_other_names_are_other_people(first, second):
    """Also look-alikes of other scripts; and an empty name is nobody's."""
    assert not People().surely_same(first, second)


@given(st.text())
def test_every_way_of_writing_a_name_has_the_same_key(name):
    """The key of the key is the key; normal forms and upper case do not change it."""
    key = person_key(name)
    assert person_key(key) == key
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert person_key(unicodedata.normalize(form, name)) == key


@given(st.text(), st.sampled_from("\u200b\u200d\u2060\ufeff\u00ad\ufe0f\u034f\U000e0041"), st.integers(0, 20))
def test_nothing_invisible_makes_a_second_person(name, invisible, place):
    """Wherever it stands."""
    assert person_key(name[:place] + invisible + name[place:]) == person_key(name)


@pytest.mark.parametrize(
    ("pairs", "count"),
    [
        ([], 0),
        ([("Quinn", "1")], 1),
        ([("Quinn", "1"), ("QUINN", "2")], 1),
        ([("Quinn", "1"), ("Robin", "1")], 1),
        ([("Quinn", "1"), ("Robin", "2")], 2),
        ([("Quinn", "1"), ("Quinn", "2"), ("Robin", "1")], 2),
        ([("Quinn", "1"), ("Quinn", "2"), ("Robin", "3"), ("Sam", "3")], 2),
        ([("Quinn", "1"), ("Quinn", "2"), ("Quinn", "3"), ("Robin", "1"), ("Sam", "1")], 2),
        ([("", "1"), ("Robin", "2")], 1),
    ],
)
def test_people_and_keys_are_counted_in_pairs(pairs, count):
    """Three keys and three names of which two share a key are two people."""
    assert people_with_keys(pairs) == count
    assert people_with_keys(reversed(pairs)) == count


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("1234")), max_size=10))
def test_the_count_is_the_best_that_there_is(pairs):
    """Compared with trying everything; never more than the people, never more than the keys."""

    def best(people: list[str], taken: frozenset[str]) -> int:
        if not people:
            return 0
        keys = {key for person, key in pairs if person == people[0]} - taken
        return max([best(people[1:], taken)] + [1 + best(people[1:], taken | {key}) for key in keys])

    assert people_with_keys(pairs) == best(sorted({person for person, _ in pairs}), frozenset())
