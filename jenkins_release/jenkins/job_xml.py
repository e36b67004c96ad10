"""Reads and writes the managed parts of the ``config.xml`` of folders and pipeline jobs.

On the controller, an item's ``config.xml`` has more than we write: permissions, build discarders, a folder's
credentials, what Declarative records after a run. An update sets the managed parts and keeps the rest; only
managed parts are compared and shown.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from defusedxml import ElementTree as SafeET
from defusedxml.common import DefusedXmlException

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import RemoteError
from jenkins_release.jenkins.model import Parameter, ParameterKind

FOLDER = "com.cloudbees.hudson.plugins.folder.Folder"
PIPELINE = "flow-definition"
_SCM_DEFINITION = "org.jenkinsci.plugins.workflow.cps.CpsScmFlowDefinition"
_GIT = "hudson.plugins.git.GitSCM"
_REMOTE = "userRemoteConfigs/hudson.plugins.git.UserRemoteConfig"
_BRANCH = "branches/hudson.plugins.git.BranchSpec"
_PARAMETERS = "hudson.model.ParametersDefinitionProperty"
_CLASSES: dict[ParameterKind, str] = {
    "string": "hudson.model.StringParameterDefinition",
    "text": "hudson.model.TextParameterDefinition",
    "boolean": "hudson.model.BooleanParameterDefinition",
    "choice": "hudson.model.ChoiceParameterDefinition",
}
_FOLDER_KEYS = (
    "com.cloudbees.hudson.plugins.folder.properties.FolderCredentialsProvider_-FolderCredentialsProperty"
)
_IDS = "domainCredentialsMap/entry/java.util.concurrent.CopyOnWriteArrayList/*/id"
_KINDS = {name: kind for kind, name in _CLASSES.items()}
# XStream writes XML 1.1, which expat does not read; they differ only in control characters.
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")


@dataclass(frozen=True)
class Source:
    """Where a pipeline's script comes from.

    Attributes:
        url: Git repository.
        login: Id of the credential that reads it; empty for none.
        branch: Branch, or anything that Jenkins accepts as one.
        script: Path of the script in it.
    """

    url: str
    login: str
    branch: str
    script: str


@dataclass(frozen=True)
class Item:
    """The managed parts of a folder or a pipeline job.

    Attributes:
        kind: Element name of the document: ``FOLDER``, ``PIPELINE``, or that of something else.
        description: Description, with the line that says who manages it.
        parameters: Parameters, in the order of the form. None if we do not manage them.
        source: Where the script comes from; None for a folder, and for a script in the job itself.
        other: What is there instead of a source that we would write, described for people.
    """

    kind: str
    description: str = ""
    parameters: tuple[Parameter, ...] | None = ()
    source: Source | None = None
    other: str = ""

    def lines(self) -> list[str]:
        """Return the item as lines for a unified diff."""
        kind = {FOLDER: "folder", PIPELINE: "pipeline job"}.get(self.kind, self.kind)
        lines = [f"kind: {kind}", *(f"description: {line}" for line in self.description.splitlines())]
        for each in self.parameters or ():
            lines += [f"parameter {each.name}: {each.kind}, default {each.default!r}"]
            lines += [f"parameter {each.name}: choice {choice!r}" for choice in each.choices]
            lines += [f"parameter {each.name}: {line}" for line in each.description.splitlines()]
        if self.source is not None:
            lines += [
                f"script: {self.source.script}",
                f"git: {self.source.url}, branch {self.source.branch}",
                f"git login: {self.source.login or 'none'}",
            ]
        return [*lines, *([f"script: {self.other}"] if self.other else [])]


def read_item(path: str, config: str) -> Item:
    """Read the managed parts of an item.

    Raises:
        RemoteError: The document is not readable XML.
    """
    root = _parse(path, config)
    if root.tag != PIPELINE:
        return Item(str(root.tag), root.findtext("description") or "")
    definitions = root.findall(f"properties/{_PARAMETERS}/parameterDefinitions/*")
    source, other = _source(root.find("definition"))
    parameters = tuple(_parameter(each) for each in definitions)
    return Item(PIPELINE, root.findtext("description") or "", parameters, source, other)


def credentials_in(path: str, config: str) -> tuple[str, ...]:
    """Return the ids of the credentials in a folder's store, which every job below it can bind.

    Raises:
        RemoteError: The document is not readable XML.
    """
    found = _parse(path, config).iterfind(f"properties/{_FOLDER_KEYS}/{_IDS}")
    return tuple(sorted({each.text or "" for each in found}))


def new_config(item: Item) -> str:
    """Return the ``config.xml`` of an item that does not exist yet."""
    root = ET.Element(item.kind)
    ET.SubElement(root, "actions")
    ET.SubElement(root, "description")
    ET.SubElement(root, "properties")
    if item.kind == PIPELINE:
        ET.SubElement(root, "keepDependencies").text = "false"
        ET.SubElement(root, "triggers")
        ET.SubElement(root, "disabled").text = "false"
    _write(root, item)
    return _text(root)


def changed_config(path: str, config: str, item: Item) -> str:
    """Return the ``config.xml`` of an item with the managed parts set, and everything else kept.

    Raises:
        RemoteError: The document is not readable XML.
    """
    root = _parse(path, config)
    _write(root, item)
    return _text(root)


def _write(root: ET.Element, item: Item) -> None:
    _child(root, "description").text = item.description
    if item.kind != PIPELINE:
        return
    if item.parameters is not None:
        _write_parameters(_child(root, "properties"), item.parameters)
    if item.source is not None:
        _write_source(root, item.source)


def _write_parameters(properties: ET.Element, parameters: tuple[Parameter, ...]) -> None:
    for found in properties.findall(_PARAMETERS):
        properties.remove(found)
    if parameters:
        definitions = ET.SubElement(ET.SubElement(properties, _PARAMETERS), "parameterDefinitions")
        for each in parameters:
            _write_parameter(definitions, each)


def _write_parameter(above: ET.Element, parameter: Parameter) -> None:
    element = ET.SubElement(above, _CLASSES[parameter.kind])
    ET.SubElement(element, "name").text = parameter.name
    ET.SubElement(element, "description").text = parameter.description
    if parameter.kind == "choice":
        choices = ET.SubElement(element, "choices")
        for choice in parameter.choices:
            ET.SubElement(choices, "string").text = choice
    else:
        ET.SubElement(element, "defaultValue").text = parameter.default or ""
    if parameter.kind in {"string", "text"}:
        ET.SubElement(element, "trim").text = "false"


def _write_source(root: ET.Element, source: Source) -> None:
    found = root.find("definition")
    if found is None or _source(found)[0] is None:
        # Not one of ours: nothing in it can be kept.
        if found is not None:
            root.remove(found)
        found = ET.SubElement(root, "definition", {"class": _SCM_DEFINITION, "plugin": "workflow-cps"})
        scm = ET.SubElement(found, "scm", {"class": _GIT, "plugin": "git"})
        ET.SubElement(scm, "configVersion").text = "2"
        remotes = ET.SubElement(scm, "userRemoteConfigs")
        ET.SubElement(remotes, "hudson.plugins.git.UserRemoteConfig")
        ET.SubElement(ET.SubElement(scm, "branches"), "hudson.plugins.git.BranchSpec")
        ET.SubElement(scm, "doGenerateSubmoduleConfigurations").text = "false"
        ET.SubElement(scm, "submoduleCfg", {"class": "empty-list"})
        ET.SubElement(scm, "extensions")
    scm = _child(found, "scm")
    remote = scm.find(_REMOTE)
    branch = scm.find(_BRANCH)
    assert remote is not None
    assert branch is not None
    _child(remote, "url").text = source.url
    login = _child(remote, "credentialsId")
    login.text = source.login
    if not source.login:
        remote.remove(login)
    _child(branch, "name").text = f"*/{source.branch}"
    _child(found, "scriptPath").text = source.script
    if found.find("lightweight") is None:
        ET.SubElement(found, "lightweight").text = "true"


def _source(definition: ET.Element | None) -> tuple[Source | None, str]:
    """Return the source of a definition in our form, or a description of another one."""
    if definition is None:
        return None, "none"
    kind = str(definition.get("class", "")).rpartition(".")[2] or "unknown"
    scm = definition.find("scm")
    if definition.get("class") != _SCM_DEFINITION or scm is None:
        return None, f"in the job itself ({kind})"
    remotes, branches = scm.findall(_REMOTE), scm.findall(_BRANCH)
    if scm.get("class") != _GIT or len(remotes) != 1 or len(branches) != 1:
        return None, f"from somewhere else ({kind})"
    return Source(
        url=remotes[0].findtext("url") or "",
        login=remotes[0].findtext("credentialsId") or "",
        branch=(branches[0].findtext("name") or "").removeprefix("*/"),
        script=definition.findtext("scriptPath") or "Jenkinsfile",
    ), ""


def _parameter(element: ET.Element) -> Parameter:
    kind = _KINDS.get(str(element.tag), "other")
    choices = tuple(each.text or "" for each in element.findall("choices//string"))
    default = element.findtext("defaultValue") or ""
    return Parameter(
        name=element.findtext("name") or "",
        kind=kind,
        # The default of another kind may be a secret, even if encrypted.
        default=None if kind in {"other", "choice"} else default or ("false" if kind == "boolean" else ""),
        choices=choices,
        description=element.findtext("description") or "",
    )


def _child(element: ET.Element, name: str) -> ET.Element:
    found = element.find(name)
    return ET.SubElement(element, name) if found is None else found


def _parse(path: str, config: str) -> ET.Element:
    try:
        root: ET.Element = SafeET.fromstring(_DECLARATION.sub("", config))
    except (ET.ParseError, DefusedXmlException) as error:
        raise RemoteError(
            f"the definition of {path} on the controller is not readable XML",
            hint="remove control characters from its description in Jenkins",
        ) from error
    return root


def _text(root: ET.Element) -> str:
    ET.indent(root)
    return f"<?xml version='1.1' encoding='UTF-8'?>\n{ET.tostring(root, encoding='unicode')}\n"
