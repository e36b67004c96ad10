"""The double answers as a real controller did: tests/data/jenkins holds what was recorded of one.

The requests are made again, in their order; ids are those of this run. What the double answers has to
be in the recording: status, headers, every field of every document with its type and value. A real
controller says more: plugins add actions, pages are longer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests

from tests.docs.pages import ROOT
from tests.fixtures.jenkins_double import JenkinsDouble
from tests.fixtures.jenkins_double.documents import pruned

RECORDED = [
    json.loads(line) for line in (ROOT / "tests/data/jenkins/exchanges.jsonl").read_text().splitlines()
]
_READ = {"id", "why", "cancelled", "executable", "number", "building", "result", "url", "actions", "queueId"}
_READ |= {"parameterDefinitions", "buildable", "message", "inputs", "causes", "parameters", "builds"}
"""Fields that our client reads: the double has them wherever the recording has."""
_CHANGING = {"timestamp", "inQueueSince", "crumb", "color", "queueId", "duration", "healthReport"}
_ACTIONS = {"hudson.model.ParametersAction", "hudson.model.CauseAction"}


class Replay:
    """Makes the recorded requests again."""

    def __init__(self, double: JenkinsDouble) -> None:
        self.double = double
        self.ids: dict[str, str] = {}
        self.sessions: dict[str, requests.Session] = {}

    def send(self, exchange: dict[str, Any]) -> requests.Response:
        url = re.sub(r"queue/item/(\d+)", self._id, exchange["url"])
        url = re.sub(r"cancelItem\?id=(\d+)", self._id, url)
        session, headers = self._login(exchange["user"])
        if exchange["method"] == "POST" and str(exchange["body"] or "").startswith(("<", "<?xml")):
            headers["Content-Type"] = "text/xml"
        else:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = (exchange["body"] or "").encode()
        answer = session.request(
            exchange["method"],
            self.double.url + url.lstrip("/"),
            data=body,
            headers=headers,
            allow_redirects=False,
            timeout=10,
        )
        place = re.search(r"queue/item/(\d+)", exchange["headers"].get("Location", ""))
        mine = re.search(r"queue/item/(\d+)", answer.headers.get("Location", ""))
        if place and mine:
            self.ids[place[1]] = mine[1]
        return answer

    def meanwhile(self, exchange: dict[str, Any]) -> None:
        """Let happen what had happened when the recording went on."""
        text = json.dumps(exchange["answer"], ensure_ascii=False)
        builds = [build for item in self.double.controller.items.values() for build in item.builds.values()]
        waiting = exchange["url"].endswith("pendingInputActions") and exchange["answer"]
        if "Finished: " in text or '"building": false' in text or waiting or "lastBuild" in text:
            for build in builds:
                build.settle()

    def _id(self, found: re.Match[str]) -> str:
        return found[0].replace(found[1], self.ids.get(found[1], found[1]))

    def _login(self, user: str | None) -> tuple[requests.Session, dict[str, str]]:
        session = self.sessions.setdefault(str(user), requests.Session())
        session.trust_env = False
        if user is None:
            return session, {}
        name, _, how = user.partition("+")
        person = self.double.controller.people.get(name)
        session.auth = (name, (person.password if how else person.token) if person else "wrong")
        if how != "crumb":
            return session, {}
        crumb = session.get(f"{self.double.url}crumbIssuer/api/json", timeout=10).json()
        return session, {crumb["crumbRequestField"]: crumb["crumb"]}


def differences(mine: Any, recorded: Any, place: str = "") -> Iterator[str]:
    """Yield what the double says and the recording does not."""
    if isinstance(mine, dict) and isinstance(recorded, dict):
        for key, value in mine.items():
            if key not in recorded:
                yield f"{place}.{key} is not in the recording"
            elif key not in _CHANGING:
                yield from differences(value, recorded[key], f"{place}.{key}")
        yield from (f"{place}.{key} is missing" for key in recorded if key in _READ and key not in mine)
    elif isinstance(mine, list) and isinstance(recorded, list):
        kept = [_known(mine), _known(recorded)] if place.endswith(".actions") else [mine, recorded]
        if len(kept[0]) != len(kept[1]):
            yield f"{place} has {len(kept[0])} entries, recorded are {len(kept[1])}"
        for number, (one, other) in enumerate(zip(*kept, strict=False)):
            yield from differences(one, other, f"{place}[{number}]")
    elif _comparable(mine, place) != _comparable(recorded, place):
        yield f"{place} is {mine!r}, recorded is {recorded!r}"


def _known(actions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [action for action in actions if action.get("_class") in _ACTIONS]


def _comparable(value: Any, place: str) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return "a number" if place.endswith((".id", ".number")) and "builds" not in place else value
    return re.sub(r"http://[^/]+/|\d+(\.\d+)?(?= sec)|(?<=queue/item/)\d+", "", str(value))


def test_the_double_answers_what_was_recorded(double: JenkinsDouble):
    """All recorded requests, one after another."""
    double.controller.add(type(double.controller.people["bob"])("carol"))
    for person in list(double.controller.people.values()):
        # As on the controller that was recorded.
        double.controller.add(replace(person, full_name=person.name))
    again, wrong = Replay(double), []
    for number, exchange in enumerate(RECORDED):
        again.meanwhile(exchange)
        answer = again.send(exchange)
        place = f"{number} {exchange['method']} {exchange['url']}"
        if answer.status_code != exchange["status"]:
            wrong.append(f"{place}: {answer.status_code}, recorded is {exchange['status']}")
            continue
        for name, value in exchange["headers"].items():
            found = answer.headers.get(name)
            if name in {"X-Error", "Content-Type", "X-Jenkins"} and str(found).lower() != value.lower():
                wrong.append(f"{place}: {name} is {found!r}, recorded is {value!r}")
            if name == "Location" and found is None:
                wrong.append(f"{place}: no Location")
        if "json" in exchange["headers"].get("Content-Type", ""):
            wrong += [f"{place}: {each}" for each in differences(answer.json(), exchange["answer"])]
        elif exchange["url"].endswith("consoleText"):
            rest = iter(exchange["answer"].splitlines())
            lines = [line for line in answer.text.splitlines() if not line.startswith("+ ")]
            wrong += [f"{place}: {line!r} is not there" for line in lines if line not in rest]
    assert "\n".join(wrong) == ""


def test_the_comparison_notices_what_was_never_recorded():
    """A field too many, one too few, another value, another number of entries."""
    recorded = {"_class": "a", "number": 1, "result": None, "list": [1]}
    assert list(differences(recorded | {"more": 1}, recorded))
    assert list(differences({"_class": "a"}, recorded))
    assert list(differences(recorded | {"result": "SUCCESS"}, recorded))
    assert list(differences(recorded | {"list": []}, recorded))
    assert not list(differences(recorded | {"number": 2}, recorded))


def test_a_tree_takes_what_it_names():
    """Nested, with a range, classes always: as the remote API documents it."""
    document = {
        "_class": "J",
        "builds": [{"number": n, "url": "u", "actions": [{}, {"a": 1, "b": 2}]} for n in (3, 2, 1)],
    }
    assert pruned(document, "builds[number,actions[a]]{0,1}") == {
        "_class": "J",
        "builds": [{"number": 3, "actions": [{}, {"a": 1}]}],
    }
    with pytest.raises(ValueError, match="bracket"):
        pruned(document, "builds[number")
