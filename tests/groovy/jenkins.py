"""A Jenkins to test with: one JVM that runs pipelines against the library's steps, and what it answers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jenkins_release.base.version import __version__

ROOT = Path(__file__).parents[2]
VARS = ROOT / "vars"
GOLDEN = Path(__file__).parent / "golden"
LOGS = ROOT / "build" / "groovy-logs"
_HARNESS = Path(__file__).parent / "harness"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC")
_PLACE = re.compile(r"127\.0\.0\.1:\d+|\\\\127\.0\.0\.1[^ ']*(?=\.\\n)")
_STAMP = re.compile(r"^\[\d{4}-\d\d-\d\dT[\d:.]+Z\] ", re.MULTILINE)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Job:
    """What a build runs in.

    Attributes:
        workspace: The agent's folder for it; its temporary folder stands beside it.
        environment: The agent's environment, the whole of it.
        credentials: Jenkins credentials by id: kind and values.
        checkout: The sources, a folder and a commit.
        user: Who starts builds.
        build: Build number.
    """

    workspace: Path
    environment: Mapping[str, str] = field(repr=False)
    credentials: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    checkout: Mapping[str, str] = field(default_factory=dict)
    user: str = "alice"
    build: str = "42"

    def specification(self, script: str, **more: Any) -> dict[str, Any]:
        """Return the document that the harness runs ``script`` from."""
        return {
            "script": script,
            "workspace": str(self.workspace),
            "environment": dict(self.environment),
            "credentials": self.credentials,
            "checkout": self.checkout,
            "user": self.user,
            "build": self.build,
            **more,
        }


@dataclass(frozen=True)
class Outcome:
    """What a build ended with.

    ``leaks`` says where a secret was seen; ``name``, ``description``, ``kept``, ``reports``, ``mails`` and
    ``artifacts`` are the build's name and description, whether it is kept forever, the JUnit reports that it
    published, the mails that it sent, and the files that it archived. ``console`` is the log as its page
    shows it, ``raw`` the log with the times of the option ``timestamps``. ``survivors`` are the variables
    that were stored and read back on the way; ``stashes`` are those that are kept for a restart.
    """

    status: str
    answer: Any
    failure: str
    calls: list[str]
    scripts: list[str]
    console: str
    leaks: list[str]
    trace: list[str]
    name: str
    description: str
    kept: bool
    raw: str
    reports: list[str]
    mails: list[dict[str, str]]
    survivors: list[str]
    stashes: dict[str, Any]
    artifacts: dict[str, str]

    def ok(self) -> Any:
        """Return the script's value; the build has to be a success without leaks."""
        assert self.status == "SUCCESS", self.story()
        assert self.leaks == [], self.story()
        return self.answer

    def unstable(self) -> Any:
        """Return the script's value; the build has to be unstable without leaks: tests failed."""
        assert self.status == "UNSTABLE", self.story()
        assert self.leaks == [], self.story()
        return self.answer

    def failed(self) -> str:
        """Return the failure; the build has to fail through the step ``error``, without leaks."""
        assert self.status == "FAILURE", self.story()
        assert self.leaks == [], self.story()
        return self.failure

    def story(self) -> str:
        """All that is known, for a failing test."""
        return "\n".join([self.status, self.failure, *self.trace, *self.calls, self.console])

    def stack(self, workspace: Path) -> str:
        """The call stack without what differs from run to run."""
        text = "\n".join(self.calls).replace(str(workspace).replace("'", "\\'"), "<workspace>")
        text = text.replace(str(workspace), "<workspace>")
        text = _MOMENT.sub("<moment>", _DIGEST.sub("sha256:<digest>", _PLACE.sub("<place>", text)))
        return _UUID.sub("<id>", text).replace(__version__, "<version>") + "\n"


class Jenkins:
    """The harness: a JVM that answers one JSON document a line."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["groovy", "-cp", str(_HARNESS), str(_HARNESS / "Main.groovy"), str(VARS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "JAVA_HOME": _java_home(), "JAVA_OPTS": "-Xmx256m -XX:TieredStopAtLevel=1"},
        )

    def run(self, job: Job, script: str, **more: Any) -> Outcome:
        """Run one build."""
        return self.together(job.specification(script, **more))[0]

    def restart(self, job: Job, script: str, stage: str, of: Outcome, **more: Any) -> Outcome:
        """Run *Restart from Stage*: a build of its own, with the stashes that were kept of an earlier one."""
        return self.run(job, script, restart={"stage": stage, "stashes": of.stashes}, **more)

    def together(self, *specifications: Mapping[str, Any]) -> list[Outcome]:
        """Run builds at the same time."""
        answers = self._ask({"builds": specifications})
        return [
            Outcome(
                status=answer["status"],
                answer=answer["answer"],
                failure=answer["failure"] or "",
                calls=answer["calls"],
                scripts=answer["scripts"],
                console=_STAMP.sub("", answer["console"]),
                raw=answer["console"],
                leaks=answer["leaks"],
                trace=[answer["thrown"] or "", *answer.get("trace", [])],
                name=answer["name"],
                description=answer["description"] or "",
                kept=answer["kept"],
                reports=answer["reports"],
                mails=answer["mails"],
                survivors=answer["survivors"],
                stashes=answer["stashes"],
                artifacts=answer["artifacts"],
            )
            for answer in answers
        ]

    def facts(self, path: Path) -> Any:
        """What a script's syntax tree says."""
        return self._ask({"facts": str(path)})

    def job_dsl(self, text: str) -> Any:
        """Run a script of the plugin Job DSL: its calls, each with its values and the calls in its block."""
        return self._ask({"jobDsl": text})

    def close(self) -> None:
        """End the JVM: it stops at the end of its input."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, question: Any) -> Any:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, f"the harness ended with status {process.wait()}; see the captured stderr"
        return json.loads(line)


def keep_log(name: str, outcome: Outcome) -> None:
    """Write the console of a whole run to ``build/groovy-logs``, for people: ``make groovy-logs``."""
    LOGS.mkdir(parents=True, exist_ok=True)
    (LOGS / f"{name}.log").write_text(outcome.console)


def _java_home() -> str:
    """Debian's groovy expects default-java, which only the package default-jre-headless has."""
    if home := os.environ.get("JAVA_HOME"):
        return home
    java = shutil.which("java")
    assert java is not None, "no java on PATH"
    return str(Path(java).resolve().parents[1])
