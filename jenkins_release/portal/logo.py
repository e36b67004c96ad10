"""The product's logo on the portal's page: a PNG or an SVG that runs nothing and loads nothing.

The page shows it with ``<img>``, where a browser runs no script of an SVG. Opened by its own address it is a
document of the portal, so an SVG with anything but a drawing in it is refused.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree.ElementTree import ParseError

from jenkins_release.base.errors import ConfigurationError

TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
MOST = 256 * 1024
_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_PIXELS = 4096
_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_DRAWING = frozenset(
    [
        "svg",
        "g",
        "defs",
        "symbol",
        "use",
        "title",
        "desc",
        "metadata",
        "style",
        "path",
        "rect",
        "circle",
        "ellipse",
        "line",
        "polyline",
        "polygon",
        "text",
        "tspan",
        "textPath",
        "linearGradient",
        "radialGradient",
        "stop",
        "clipPath",
        "mask",
        "pattern",
        "marker",
        "filter",
        "switch",
    ]
)
_INERT = (
    "http://www.inkscape.org/",
    "http://sodipodi.",
    "http://www.w3.org/1999/02/22-rdf",
    "http://purl.org/dc/",
    "http://creativecommons.org/",
    "http://web.resource.org/cc/",
)
"""What drawing programs add for themselves; to a browser it is nothing."""
_LOADS = re.compile(r"url\(\s*['\"]?(?!\s*['\"]?#)|@import|image-set\(|\\", re.IGNORECASE)


def read_logo(path: str) -> bytes:
    """Read and check the logo.

    Raises:
        ConfigurationError: It cannot be read, is too large, is not what its name says, or is an SVG that is
            more than a drawing.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            data = stream.read(MOST + 1)
    except OSError as error:
        raise ConfigurationError(
            f"the logo {path} cannot be read: {error.strerror}", hint="write it, or change portal.logo"
        ) from error
    if len(data) > MOST:
        raise _refused(path, f"it has more than {MOST} bytes, the most that is allowed")
    problem = _png_problem(data) if file.suffix.lower() == ".png" else _svg_problem(data)
    if problem:
        raise _refused(path, problem)
    return data


def _refused(path: str, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"the logo {path} cannot be used: {problem}",
        hint="set portal.logo to a PNG, or to an SVG that is saved as plain SVG",
    )


def _png_problem(data: bytes) -> str:
    # PNG (W3C, third edition), 5.2 and 11.2.1: signature, then IHDR with width and height.
    if not data.startswith(_PNG) or data[12:16] != b"IHDR" or len(data) < 24:
        return "it is not a PNG"
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if not 0 < max(width, height) <= _MOST_PIXELS or not min(width, height):
        return f"it has {width} x {height} pixels, at most {_MOST_PIXELS} x {_MOST_PIXELS} are allowed"
    return ""


def _svg_problem(data: bytes) -> str:
    from defusedxml import DefusedXmlException, ElementTree

    try:
        root = ElementTree.fromstring(data, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError) as error:
        return f"it is not a plain SVG: {error}"
    if root.tag != f"{_SVG}svg":
        return "it is not an SVG: its root is not an svg element in SVG's namespace"
    if b"<?xml-stylesheet" in data.replace(b"\0", b""):  # UTF-16 has a zero beside each letter
        return "it names a style sheet"
    for element in root.iter():
        tag = str(element.tag)
        if tag.removeprefix("{").startswith(_INERT):
            continue
        name = tag.removeprefix(_SVG)
        if name == tag or not (name in _DRAWING or name.startswith("fe")):
            return f"it contains the element {tag.rpartition('}')[2]}, which is not part of a drawing"
        for key, value in element.attrib.items():
            own = key.removeprefix(_XLINK).lower()
            if own.startswith("on"):
                return f"it contains the script attribute {own}"
            if not own.startswith("{") and (
                _LOADS.search(value) or (own == "href" and not value.strip().startswith("#"))
            ):
                return f"its attribute {own} leads out of the drawing"
        if name == "style" and _LOADS.search("".join(element.itertext())):
            return "its style leads out of the drawing"
    return ""
