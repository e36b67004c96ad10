"""A Jenkins controller, over python-jenkins.

python-jenkins makes the URLs, the login, the crumb and the session. Its own methods are used unless they
drop what a caller has to know: the queue item of a duplicate trigger, the causes of a build, the offset of
a console, and whether an item was created or existed before.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import jenkins
import requests
from pydantic import SecretStr

from jenkins_release.base.environment import is_text
from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.base.numbers import whole_number
from jenkins_release.base.waits import LEAST_RATE, Limits
from jenkins_release.http.exchange import close_session
from jenkins_release.jenkins.answers import (
    build_of,
    entries_of,
    inputs_of_graph_view,
    inputs_of_stage_view,
    job_of,
    queue_item_of,
    user_of,
)
from jenkins_release.jenkins.errors import (
    AnswerRefused,
    CrumbRefused,
    ItemNotFound,
    jenkins_errors,
    translate,
)
from jenkins_release.jenkins.model import Build, ConsolePart, FolderEntry, JobInfo, PendingInput, QueueItem
from jenkins_release.jenkins.session import bound

_log = logging.getLogger(__name__)
T = TypeVar("T")
LAST_BUILDS = 100
"""Builds that are searched for one with certain parameters."""
_BUILD = "number,url,building,result,queueId,actions[userId,causes[userId],parameters[name,value]]"
_ITEM = "id,why,task[url],actions[parameters[name,value]]"
_INPUTS = (
    ("wfapi/pendingInputActions", inputs_of_stage_view),
    ("stages/allSteps", inputs_of_graph_view),
)
"""Where plugins tell what a build waits for, the one that says most first."""
_LEAKS = "JENKINS_API_EXTRA_HEADERS"
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class Controller:
    """A controller and one user on it: starts and follows builds, reads and writes job definitions.

    Args:
        url: The controller's root; builds and jobs are looked up below it, whatever URL Jenkins itself is
            configured with.
        user: Id of the user.
        token: The user's API token; a password works too, but needs crumbs.
        timeout_s: Longest wait for one answer, in seconds.
        least_rate: Bytes a second below which an answer does not count as progress.

    Raises:
        ConfigurationError: The environment makes python-jenkins log headers.
    """

    def __init__(
        self,
        url: str,
        user: str,
        token: SecretStr,
        *,
        timeout_s: float = 30.0,
        least_rate: int = LEAST_RATE,
    ) -> None:
        if os.environ.get(_LEAKS):
            raise ConfigurationError(
                f"{_LEAKS} is set: python-jenkins would log these headers",
                hint="unset it; custom headers for a proxy are not supported",
            )
        self.url = url if url.endswith("/") else f"{url}/"
        parts = urlsplit(self.url)
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            _log.warning("the token goes to %s unencrypted: use https", parts.netloc)
        self._server = jenkins.Jenkins(self.url, user, token.get_secret_value(), timeout=timeout_s)
        # python-jenkins has no way to limit what it reads.
        bound(self._server._session, Limits(timeout_s, least_rate))
        self._inputs: tuple[tuple[str, Callable[[Any], tuple[PendingInput, ...]]], ...] = _INPUTS

    def __repr__(self) -> str:
        return f"Controller({self.url!r})"

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        close_session(self._server._session)

    def user(self) -> str:
        """Return the id of the user whose token is used."""
        with jenkins_errors("ask who this user is", self.url):
            return user_of(_clean(self._server.get_whoami()))

    def job(self, path: str) -> JobInfo:
        """Return a job. Raises ItemNotFound."""
        with jenkins_errors(f"read the job {path}", self.url):
            return job_of(path, _clean(self._server.get_job_info(path)))

    def trigger(self, path: str, parameters: Mapping[str, str]) -> int:
        """Start a job with parameters, which are sent in the body so that no proxy logs them.

        Returns:
            The id of the queue item. Jenkins answers 303 with the waiting item if the same parameters were
            sent during its quiet period.

        Raises:
            RemoteError: There was no usable answer. Then it is unknown whether the job was started; check the
                queue and the builds before trying again.
        """
        what = f"start the job {path}"
        with jenkins_errors(what, self.url):
            answer = self._post(f"{_job(path)}buildWithParameters", data=dict(parameters))
            places = [each.headers.get("Location", "") for each in (*answer.history, answer)]
        for place in places:
            _, found, number = place.rstrip("/").rpartition("/queue/item/")
            if found and (item := whole_number(number)) is not None:
                return item
        raise RemoteError(
            f"{what}: Jenkins did not say which queue item it became",
            hint="a proxy may have dropped the Location header",
        )

    def queued(self, path: str) -> list[QueueItem]:
        """Return what waits in the queue for a job."""

        def read(answer: Any) -> list[QueueItem]:
            return [queue_item_of(each) for each in answer["items"] if "url" in (each.get("task") or {})]

        items = self._json("read the queue", f"queue/api/json?tree=items[{_ITEM}]", read)
        return [item for item in items if item.job == path]

    def queue_item(self, number: int) -> QueueItem:
        """Return a queue item. Raises ItemNotFound about five minutes after it left the queue."""
        with jenkins_errors(f"read the queue item {number}", self.url):
            return queue_item_of(_clean(self._server.get_queue_item(number)))

    def builds(self, path: str) -> list[Build]:
        """Return the last builds of a job, newest first, at most ``LAST_BUILDS``."""
        tree = f"builds[{_BUILD}]{{0,{LAST_BUILDS}}}"
        return self._json(
            f"read the builds of {path}",
            f"{_job(path)}api/json?tree={tree}",
            lambda answer: [build_of(each) for each in answer["builds"]],
        )

    def build(self, path: str, number: int) -> Build:
        """Return a build. Raises ItemNotFound."""
        return self._json(
            f"read the build {path} #{number}", f"{_job(path)}{number}/api/json?tree={_BUILD}", build_of
        )

    def pending_inputs(self, path: str, number: int) -> tuple[PendingInput, ...]:
        """Return the questions that a build is waiting for.

        Raises:
            ItemNotFound: The build is gone, or no plugin tells: neither *Pipeline: Stage View* nor *Pipeline
                Graph View* is installed.
        """
        what, build = f"read what {path} #{number} waits for", f"{_job(path)}{number}/"
        *others, last = self._inputs
        for place, read in others:
            try:
                return self._json(what, build + place, read)
            except ItemNotFound:
                continue
        found = self._json(what, build + last[0], last[1])
        # Whoever follows a build asks again and again: next time, the one that answered comes first.
        self._inputs = (last, *others)
        return found

    def proceed(self, path: str, number: int, ident: str) -> None:
        """Answer a question with its proceed button.

        Raises:
            AnswerRefused: Jenkins accepts the answer only from others; the message says from whom.
            ItemNotFound: It has already been answered.
        """
        what = f"answer the question {ident} of {path} #{number}"
        try:
            with jenkins_errors(what, self.url):
                self._post(f"{_job(path)}{number}/input/{quote(ident, safe='')}/proceedEmpty")
        except RemoteError as error:
            if "(400)" in error.message:
                raise AnswerRefused(
                    error.message, hint="someone whom the job's input step names must answer"
                ) from error
            raise

    def console(self, path: str, number: int, start: int) -> ConsolePart:
        """Return the console from byte ``start`` on, at most ``CONSOLE_PIECE`` at once.

        A connection that breaks after some bytes ends the piece early, and is not a failure.
        """
        what = f"read the console of {path} #{number}"
        url = f"{_job(path)}{number}/logText/progressiveText?start={start}"
        with jenkins_errors(what, self.url):
            answer = self._server.jenkins_open_stream(self._request("GET", url))
            with answer:
                size = whole_number(answer.headers["X-Text-Size"])
                data, whole = answer.raw.read(), answer.raw.whole
            if size is None:
                raise ValueError("the size of the console is not a number")
        if whole and size < start:
            _log.warning("the console of %s #%d is shorter than before: showing it again", path, number)
        # X-Text-Size counts bytes of the file; for a piece, only the received bytes can be counted.
        end = size if whole else start + len(data)
        return ConsolePart(data, end, not whole or answer.headers.get("X-More-Data") == "true")

    def config(self, path: str) -> str:
        """Return the ``config.xml`` of an item. Raises ItemNotFound."""
        with jenkins_errors(f"read the definition of {path}", self.url):
            return str(self._server.get_job_config(path))

    def inside(self, path: str) -> list[FolderEntry]:
        """Return the items of a folder that the user may see. Raises ItemNotFound."""
        return self._json(
            f"read what is in {path}",
            f"{_job(path)}api/json?tree=jobs[name,description]",
            lambda answer: entries_of(path, answer),
        )

    def create(self, path: str, config: str) -> None:
        """Create an item from its ``config.xml``; its folder must exist."""
        folder, _, name = path.rpartition("/")
        with jenkins_errors(f"create {path}", self.url):
            self._post(
                f"{_job(folder) if folder else ''}createItem?name={quote(name, safe='')}",
                data=config.encode(),
                headers=jenkins.DEFAULT_HEADERS,
            )

    def update(self, path: str, config: str) -> None:
        """Replace the ``config.xml`` of an item."""
        with jenkins_errors(f"change the definition of {path}", self.url), self._crumb():
            self._server.reconfig_job(path, config)

    def _json(self, what: str, path: str, read: Callable[[Any], T]) -> T:
        with jenkins_errors(what, self.url):
            return read(_clean(json.loads(self._server.jenkins_open(self._request("GET", path)))))

    def _post(
        self, path: str, *, data: Any = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        request = self._request("POST", path, data=data, headers=headers)
        with self._crumb():
            answer: requests.Response = self._server.jenkins_request(request)
        return answer

    @contextlib.contextmanager
    def _crumb(self) -> Iterator[None]:
        try:
            yield
        except jenkins.JenkinsException as error:
            if isinstance(translate(error, "", self.url), CrumbRefused):
                # A restart ends the session of the crumb: the next attempt fetches another.
                self._server.crumb = None
            raise

    def _request(self, method: str, path: str, **more: Any) -> requests.Request:
        return requests.Request(method, f"{self.url}{path}", **more)


def _job(path: str) -> str:
    return "".join(f"job/{quote(name, safe='')}/" for name in path.split("/"))


def _clean(document: Any) -> Any:
    """Return what JSON said. Raises ValueError for text that cannot be written anywhere."""
    if not is_text(json.dumps(document, ensure_ascii=False)):
        raise ValueError("half a surrogate pair")
    return document
