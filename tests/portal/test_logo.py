"""The product's logo: a drawing that runs nothing and loads nothing."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.portal.logo import MOST, read_logo
from tests.portal.test_page import LOGO

NAMESPACES = "xmlns='http://www.w3.org/2000/svg' xmlns:xlink='http://www.w3.org/1999/xlink'"


def png(width: int, height: int) -> bytes:
    """Return the beginning of a PNG."""
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + b"\x08\x06\0\0\0"


def svg(inner: str, attributes: str = "") -> bytes:
    """Return an SVG."""
    return f"<svg {NAMESPACES} {attributes}>{inner}</svg>".encode()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("logo.png", png(400, 100)),
        ("logo.svg", LOGO.encode()),
        ("logo.SVG", b"<?xml version='1.0'?>" + svg("<g style='fill: url(#a)'><use xlink:href='#b'/></g>")),
        ("logo.svg", svg("<style>.a { fill: red }</style><path class='a' fill=\"url('#a')\" d='M0 0'/>")),
        (
            "logo.svg",
            svg(
                "<s:namedview xmlns:s='http://sodipodi.sourceforge.net/DTD/sodipodi-0.dtd' s:onload='x'/>"
                "<path xmlns:i='http://www.inkscape.org/namespaces/inkscape' i:x='C:\\a' d='M0'/>"
            ),
        ),
    ],
)
def test_drawings_are_taken(tmp_path: Path, name: str, data: bytes) -> None:
    """Also those of Inkscape."""
    (tmp_path / name).write_bytes(data)
    assert read_logo(str(tmp_path / name)) == data


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("logo.png", b"GIF89a", "it is not a PNG"),
        ("logo.png", LOGO.encode(), "it is not a PNG"),
        ("logo.png", png(1, 1)[:20], "it is not a PNG"),
        ("logo.png", png(5000, 1), "it has 5000 x 1 pixels"),
        ("logo.png", png(0, 5), "it has 0 x 5 pixels"),
        ("logo.svg", png(1, 1), "it is not a plain SVG"),
        ("logo.svg", b"", "it is not a plain SVG"),
        ("logo.svg", b"<svg/>", "in SVG's namespace"),
        ("logo.svg", b"<!DOCTYPE svg [<!ENTITY a 'b'>]>" + svg("<text>&a;</text>"), "it is not a plain SVG"),
        ("logo.svg", b"<?xml-stylesheet href='a.css'?>" + svg(""), "it names a style sheet"),
        (
            "logo.svg",
            (b"<?xml-stylesheet href='a.css'?>" + svg("")).decode().encode("utf-16"),
            "it names a style sheet",
        ),
        ("logo.svg", svg("<g><script>alert(1)</script></g>"), "the element script"),
        ("logo.svg", svg("<script href='x.js'/>"), "the element script"),
        ("logo.svg", svg("<foreignObject/>"), "the element foreignObject"),
        ("logo.svg", svg("<a xlink:href='javascript:x'/>"), "the element a,"),
        ("logo.svg", svg("<set attributeName='href' to='javascript:x'/>"), "the element set"),
        ("logo.svg", svg("<image href='https://a.example/x.png'/>"), "the element image"),
        ("logo.svg", svg("<h:script xmlns:h='http://www.w3.org/1999/xhtml'/>"), "the element script"),
        ("logo.svg", svg("", "onload='x'"), "the script attribute onload"),
        ("logo.svg", svg("<g ONCLICK='x'/>"), "the script attribute onclick"),
        ("logo.svg", svg("<use xlink:href='https://a.example/x.svg#a'/>"), "its attribute href leads out"),
        ("logo.svg", svg("<use href=' data:image/svg+xml,x'/>"), "its attribute href leads out"),
        ("logo.svg", svg("<g fill='url(https://a.example/x)'/>"), "its attribute fill leads out"),
        ("logo.svg", svg("<g style='fill: u\\72l(https://a.example)'/>"), "its attribute style leads out"),
        ("logo.svg", svg("<style>@import 'https://a.example'</style>"), "its style leads out"),
        ("logo.svg", svg('<style><!-- x -->a { b: url("//a") }</style>'), "its style leads out"),
        ("logo.svg", svg("x" * MOST), f"it has more than {MOST} bytes"),
    ],
)
def test_everything_else_is_refused(tmp_path: Path, name: str, data: bytes, why: str) -> None:
    """With what is wrong, and what to do."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigurationError) as caught:
        read_logo(str(tmp_path / name))
    assert why in caught.value.message
    assert str(tmp_path / name) in caught.value.message


def test_a_logo_that_is_missing_is_named(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(ConfigurationError, match=r"logo\.png cannot be read: No such file"):
        read_logo(str(tmp_path / "logo.png"))
