"""Writes folders and pipeline jobs as text for the Job DSL plugin, and that for Configuration as Code.

The text is ASCII without ``$`` and control characters: Configuration as Code replaces ``${...}``, and nothing
in a name or a description can end a string or the YAML around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jenkins_release.jenkins.job_xml import FOLDER, Item, Source
from jenkins_release.jenkins.model import Parameter

_METHODS = {"string": "stringParam", "text": "textParam", "boolean": "booleanParam", "choice": "choiceParam"}
_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def job_dsl(items: Mapping[str, Item]) -> str:
    """Return a script for the seed job, or for ``jobs`` of Configuration as Code.

    Args:
        items: Full name to item, folders before what is in them.
    """
    return "\n".join(line for path, item in items.items() for line in _item(path, item)) + "\n"


def casc(items: Mapping[str, Item]) -> str:
    """Return YAML for the plugin Configuration as Code, with :func:`job_dsl` as its script."""
    script = "".join(f"      {line}\n" for line in job_dsl(items).splitlines())
    return f"jobs:\n  - script: |\n{script}"


def groovy(text: str) -> str:
    """Return a text as a string of Groovy in single quotes."""
    return f"'{''.join(_letter(each) for each in text)}'"


def _letter(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if letter.isascii() and letter.isprintable() and letter != "$":
        return letter
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _item(path: str, item: Item) -> Iterator[str]:
    yield f"{'folder' if item.kind == FOLDER else 'pipelineJob'}({groovy(path)}) {{"
    yield f"    description({groovy(item.description)})"
    if item.parameters:
        yield "    parameters {"
        yield from (f"        {_parameter(each)}" for each in item.parameters)
        yield "    }"
    if item.source is not None:
        yield from (f"    {line}" for line in _definition(item.source))
    yield "}"


def _parameter(parameter: Parameter) -> str:
    if parameter.kind == "choice":
        value = f"[{', '.join(map(groovy, parameter.choices))}]"
    elif parameter.kind == "boolean":
        value = "true" if parameter.default == "true" else "false"
    else:
        value = groovy(parameter.default or "")
    return f"{_METHODS[parameter.kind]}({groovy(parameter.name)}, {value}, {groovy(parameter.description)})"


def _definition(source: Source) -> Iterator[str]:
    yield "definition {"
    yield "    cpsScm {"
    yield "        scm {"
    yield "            git {"
    yield "                remote {"
    yield f"                    url({groovy(source.url)})"
    if source.login:
        yield f"                    credentials({groovy(source.login)})"
    yield "                }"
    yield f"                branch({groovy(f'*/{source.branch}')})"
    # Without it, Job DSL has each build set a tag in the repository.
    yield "                extensions { }"
    yield "            }"
    yield "        }"
    yield f"        scriptPath({groovy(source.script)})"
    yield "        lightweight(true)"
    yield "    }"
    yield "}"
