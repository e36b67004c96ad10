"""The product's colour: text on it and in it can always be read."""

from __future__ import annotations

import itertools

import pytest

from jenkins_release.portal.colours import (
    DARK,
    DEFAULT,
    LEAST,
    LIGHT,
    brand_style,
    contrast,
    readable,
    text_on,
)

EVERYWHERE = [
    "#" + bytes(parts).hex() for parts in itertools.product((0, 51, 102, 119, 153, 204, 255), repeat=3)
]


def test_contrast_is_that_of_wcag() -> None:
    """Black on white is 21, and #777777 on white the known 4.48."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("background", [LIGHT, DARK])
def test_every_colour_is_made_readable(background: str) -> None:
    """At least 4.5 to 1, on the page and on its panels."""
    page = {LIGHT: "#ffffff", DARK: "#14181d"}[background]
    for colour in EVERYWHERE:
        found = readable(colour, background)
        assert contrast(found, background) >= LEAST, colour
        assert contrast(found, page) >= LEAST, colour
        assert contrast(text_on(colour), colour) >= LEAST, colour


def test_a_colour_that_can_be_read_stays() -> None:
    """The product's colour is changed only if it must be."""
    assert readable(DEFAULT, LIGHT) == DEFAULT
    assert f"--accent: {DEFAULT};" in brand_style("")
