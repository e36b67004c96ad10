"""moto with answers as late as AWS's: if ordered, reads do not see the last change at first.

IAM user guide, "Changes that I make are not always immediately visible"; other services are no different.
"""

from __future__ import annotations

import copy
import io
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs

LATE = "/_sandbox/late"
"""Path to order lateness: ``POST`` with ``{"reads": N}``, the number of each kind after a change."""
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
_SERVICE = re.compile(r"/(?P<service>[\w-]+)/aws4_request")
_READS = ("Get", "List", "Describe")


class Late:
    """moto with some late services.

    Args:
        application: moto.
        states: Service, as in signatures, to a function that returns its state: attributes by name.
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
        self._reads = 0
        self._before: dict[str, dict[str, Any]] = {}
        self._seen: dict[str, Counter[bytes]] = {}
        self._lock = threading.RLock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        if environ.get("PATH_INFO") == LATE:
            with self._lock:
                self._reads = json.loads(_body(environ))["reads"]
                self._before.clear()
            start("200 OK", [("Content-Type", "application/json"), ("Content-Length", "2")])
            return [b"{}"]
        found = _SERVICE.search(environ.get("HTTP_AUTHORIZATION", ""))
        if not self._reads or found is None or found["service"] not in self._states:
            return self._application(environ, start)
        body = _body(environ)
        environ["wsgi.input"] = io.BytesIO(body)
        target = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        with self._lock:
            return self._answer(
                found["service"], target, body, lambda: list(self._application(environ, start))
            )

    def _answer(
        self, service: str, target: str, body: bytes, answer: Callable[[], list[bytes]]
    ) -> list[bytes]:
        state, names = self._states[service](), self._changing[service]
        action = target or parse_qs(body.decode()).get("Action", [""])[0]
        if not action.startswith(_READS):
            self._before[service] = copy.deepcopy({name: state[name] for name in names})
            self._seen[service] = Counter()
            return answer()
        if service not in self._before:
            return answer()
        seen, asked = self._seen[service], action.encode() + body
        seen[asked] += 1
        if seen[asked] > self._reads:
            return answer()
        now = {name: state[name] for name in names}
        state.update(self._before[service])
        try:
            return answer()
        finally:
            state.update(now)


def _body(environ: Mapping[str, Any]) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return body
