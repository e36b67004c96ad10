"""The product's colour on the portal's page: text on it, and text in it, always has enough contrast.

Contrast and relative luminance are those of WCAG 2.2, success criterion 1.4.3: at least 4.5 to 1.
"""

from __future__ import annotations

DEFAULT = "#0b4fa8"
LEAST = 4.5
LIGHT, DARK = "#f3f5f8", "#1f252d"
"""The backgrounds of ``page.css`` (``--soft``) on which text has the least contrast."""
_STEPS = 50


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def text_on(colour: str) -> str:
    """Return black or white, whichever is easier to read on a colour; it is always at least 4.58 to 1."""
    return max("#ffffff", "#000000", key=lambda text: contrast(text, colour))


def readable(colour: str, background: str) -> str:
    """Return a colour, darkened or lightened until text in it can be read on a background."""
    towards = text_on(background)
    for step in range(_STEPS):
        mixed = _mix(colour, towards, step / _STEPS)
        if contrast(mixed, background) >= LEAST:
            return mixed
    return towards


def brand_style(colour: str) -> str:
    """Return the style sheet's variables for a colour, ``#rrggbb``; the default colour if it is empty."""
    brand = (colour or DEFAULT).lower()
    dark = f":root {{ --accent: {readable(brand, DARK)}; }}"
    return (
        f":root {{ --brand: {brand}; --on-brand: {text_on(brand)}; --accent: {readable(brand, LIGHT)}; }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ {dark} }}\n"
    )


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour.removeprefix("#")))


def _mix(colour: str, other: str, share: float) -> str:
    pairs = zip(_channels(colour), _channels(other), strict=True)
    return "#" + bytes(round(a + (b - a) * share) for a, b in pairs).hex()


def _luminance(colour: str) -> float:
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in _channels(colour))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
