"""moto's state, kept at some moment and put back later: a scene that many runs begin with is made once."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jenkins_release.sandbox.iam.moto_lag import Application

KEPT = "/_sandbox/kept"
"""Path to keep the state: ``POST`` with ``{}`` answers ``{"number": N}``, which ``POST`` then puts back."""


class Kept:
    """moto that keeps its state when ordered.

    Args:
        application: moto.
        states: Service to a function that returns its state: attributes by name.
        changing: Service to the attributes that its calls change.
    """

    def __init__(
        self,
        application: Application,
        states: Mapping[str, Callable[[], dict[str, Any]]],
        changing: Mapping[str, tuple[str, ...]],
    ) -> None:
        self._application = application
        self._states = states
        self._changing = changing
        self._kept: list[dict[str, dict[str, Any]]] = []
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        if environ.get("PATH_INFO") != KEPT:
            return self._application(environ, start)
        length = int(environ.get("CONTENT_LENGTH") or 0)
        number = json.loads(environ["wsgi.input"].read(length)).get("number")
        with self._lock:
            if number is None:
                number = len(self._kept)
                self._kept.append(self._copy(self._now()))
            else:
                for service, names in self._copy(self._kept[number]).items():
                    self._states[service]().update(names)
        body = json.dumps({"number": number}).encode()
        start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    def _now(self) -> dict[str, dict[str, Any]]:
        return {
            service: {name: self._states[service]()[name] for name in names}
            for service, names in self._changing.items()
        }

    @staticmethod
    def _copy(state: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        # As one: what refers to each other does so in the copy too.
        return copy.deepcopy(state)
