"""Status: compares what the SaaS stack runs, by digest, with what was released."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from jenkins_release.base.dataclass import dataclass
from jenkins_release.config.saas import ServiceSection
from jenkins_release.records.refresh import StackState
from jenkins_release.rules.saas.rollout import rollout
from jenkins_release.rules.saas.running_release import MIXED, NOT_A_RELEASE, NOTHING, verdict
from jenkins_release.rules.saas.stack import StackEntry
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.context.watcher import StackWatcher
from jenkins_release.steps.saas.driver import saas_section
from jenkins_release.steps.saas.ecs_images import task_digests
from jenkins_release.steps.saas.history import StackKnowledge, read_knowledge
from jenkins_release.steps.saas.strategy import open_driver

UNKNOWN = "unknown"
"""Verdict on a part if it is unknown what it runs."""


@dataclass(frozen=True)
class ContainerDigests:
    """What the tasks of a service run in one container.

    Attributes:
        container: Its name.
        image: Short name of the image that it should run.
        digests: Manifest digest to the number of tasks that run it; an empty digest if ECS reports none.
    """

    container: str
    image: str
    digests: dict[str, int]


@dataclass(frozen=True)
class PartStatus:
    """A service, or an instance.

    Attributes:
        name: Its name.
        verdict: The release that it runs, or why none can be named.
        definition: ARN of its task definition; empty for an instance.
        rollout: State of its deployment, in words; empty for an instance.
        containers: What its tasks run; none for an instance.
        starts: Container to the manifest digest that its task definition pins; none for an instance.
    """

    name: str
    verdict: str
    definition: str = ""
    rollout: str = ""
    containers: tuple[ContainerDigests, ...] = ()
    starts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StackStatus:
    """What the stack runs.

    Attributes:
        stack: Name of the stack.
        strategy: How it is refreshed.
        verdict: The release that all parts run, or why none can be named.
        parts: Every service, or every instance as last recorded.
        recorded: The state that the last refresh left.
        last: The last statement about the stack; None if there is none.
        notes: Problems: what cannot be read on the share, or contradicts the rest.
        lost: Records of refreshes that can no longer be read. The notes include them.
    """

    stack: str
    strategy: str
    verdict: str
    parts: tuple[PartStatus, ...]
    recorded: StackState
    last: StackEntry | None
    notes: tuple[str, ...]
    lost: tuple[str, ...] = ()


def stack_status(services: Services) -> StackStatus:
    """Read what the stack runs, and name the release.

    For ECS services, the digests are those that the tasks pulled. Instances report nothing, so the record of
    the last refresh counts for them.

    Raises:
        ConfigurationError: No stack is configured, or a service of it does not exist.
        RemoteError: Share or AWS failed, after the retries.
    """
    section = saas_section(services)
    knowledge = read_knowledge(services)
    history = knowledge.history
    parts = _services(knowledge, services) if section.strategy == "ecs" else _instances(knowledge)
    said = history.state if history.last is not None and history.unsettled is None else StackState()
    whole, notes = _whole(parts), knowledge.notes
    lost = tuple(dict.fromkeys(each.why for each in knowledge.lost))
    return StackStatus(section.stack, section.strategy, whole, parts, said, history.last, notes, lost)


def _services(knowledge: StackKnowledge, services: Services) -> tuple[PartStatus, ...]:
    state = open_driver(services, StackWatcher()).observe()  # raises if the configuration is wrong
    ecs, sections = services.ecs, services.configuration.saas.services
    found = services.retry("describe the services", ecs.services, [each.name for each in sections])
    starts = {part.name: part.images for part in state.parts}
    released = {part: index for index, parts in knowledge.listed.items() for part in parts}
    parts = []
    for section in sections:
        definition, service = state.definitions[section.name], found[section.name]
        tasks = services.retry(f"read the tasks of {section.name}", ecs.tasks, section.name)
        running = [
            {name: released.get(digest, digest) for name, digest in task_digests(t.digests, t.images).items()}
            for t in tasks
        ]
        recorded = knowledge.history.state.release
        parts.append(
            PartStatus(
                section.name,
                verdict(running, section.containers, knowledge.released, recorded),
                definition,
                rollout(service, definition).told,
                _counted(section, running),
                starts[section.name],
            )
        )
    return tuple(parts)


def _counted(section: ServiceSection, running: Sequence[dict[str, str]]) -> tuple[ContainerDigests, ...]:
    found = []
    for container, image in section.containers.items():
        digests: dict[str, int] = {}
        for task in running:
            digest = task.get(container, "")
            digests[digest] = digests.get(digest, 0) + 1
        found.append(ContainerDigests(container, image, digests))
    return tuple(found)


def _instances(knowledge: StackKnowledge) -> tuple[PartStatus, ...]:
    history = knowledge.history
    withdrawn = {each.release for each in knowledge.released if each.withdrawn}
    if history.last is None:
        return ()
    if history.unsettled is not None:
        reached = history.last.record.instances
        return tuple(PartStatus(each.instance, UNKNOWN) for each in reached)
    release = history.state.release
    shown = f"{release} (withdrawn)" if release in withdrawn else release or UNKNOWN
    return tuple(PartStatus(part.name, shown) for part in history.state.parts)


def _whole(parts: Sequence[PartStatus]) -> str:
    verdicts = {part.verdict for part in parts if part.verdict != NOTHING}
    if not verdicts:
        return NOTHING if parts else UNKNOWN
    if len(verdicts) == 1:
        return verdicts.pop()
    return NOT_A_RELEASE if NOT_A_RELEASE in verdicts else MIXED
