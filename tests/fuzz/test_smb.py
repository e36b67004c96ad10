"""Whatever an SMB server says, an operation succeeds or ends in an error of ours, in time.

The server has the session's keys and signs what it says: what is changed reaches the parsers.
``make fuzz`` runs many more cases: ``FUZZ_CASES``, from the number ``FUZZ_SEED``.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jenkins_release.base.errors import ReleaseError
from jenkins_release.base.retry import RetryPolicy
from jenkins_release.sandbox.samba import SambaServer
from jenkins_release.share import SmbShare
from jenkins_release.share.smb import login as smb_login
from jenkins_release.share.smb.packed.messages import with_signature
from jenkins_release.share.smb.packed.protection import signer
from tests.fixtures.share import OpenSmb, Tap, unchanged

CASES = int(os.environ.get("FUZZ_CASES", "120"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
REGRESSIONS: tuple[int, ...] = ()
"""Numbers of cases that ended in another exception once, or did not end."""
GENEROUS_S = 30.0
TWICE = RetryPolicy(attempts=2, deadline_s=3.0, first_wait_s=0.0, max_wait_s=0.0, jitter_s=0.0)
ONCE = replace(TWICE, attempts=1)
STATUSES = (0, 0x103, 0xC0000016, 0x80000005, 0x80000006, 0xC0000011, 0xC0000022, 0xC0000034, 0xC0000035)
STATUSES += (0xC0000043, 0xC0000056, 0xC000007F, 0xC00000BB, 0xC0000203, 0xC000035C, 0x8000002D, 0xC000000D)
STATUSES += (0xFFFFFFFF, 0x0000010C, 0xC0000257, 0xC00000CC)


def _write(share: SmbShare, name: str, *, resumable: bool) -> None:
    with share.create(name, resumable=resumable) as writer:
        writer.write(bytes(100_000))


def _copy(share: SmbShare, name: str) -> None:
    with share.create(name) as writer:
        share.copy_into(writer, "file")


def _lease(share: SmbShare, name: str) -> None:
    with share.lease(name, "me") as lease:
        lease.confirm()


OPERATIONS: tuple[Callable[[SmbShare, str], object], ...] = (
    lambda share, _: share.list(""),
    lambda share, _: share.stat("file"),
    lambda share, _: b"".join(share.read("file")),
    lambda share, _: share.read_heads(["file", "none", "file"]),
    lambda share, _: share.list_each(["", "none", "folder"]),
    lambda share, _: share.free_space(),
    lambda share, name: _write(share, name, resumable=False),
    lambda share, name: _write(share, name, resumable=True),
    lambda share, name: share.make_folder(f"{name}/a"),
    lambda share, name: (share.make_folder(name), share.rename(name, f"{name}-new")),
    lambda share, name: (share.make_folder(f"{name}/a"), share.remove(name)),
    lambda share, name: (_write(share, name, resumable=False), share.protect(name)),
    _copy,
    _lease,
)


class Fuzz:
    """Changes one answer of the server.

    Args:
        number: The case.
        sessions: Sessions by id, as they are made.
    """

    def __init__(self, number: int, sessions: dict[int, Any]) -> None:
        self._random = random.Random(number)  # noqa: S311 - cases that can be repeated
        self._sessions = sessions
        self.operation = self._random.choice(OPERATIONS)
        self.connected = self._random.random() < 0.6
        self.resume = self._random.choice((ONCE, TWICE))
        self._left = self._random.randrange(10)
        self._signs = self._random.random() < 0.9
        self._more = self._random.random() < 0.1

    def change(self, message: bytes) -> list[bytes]:
        """Return what comes in the place of a message."""
        self._left -= 1
        if self._left >= 0 or (self._left < -1 and not self._more):
            return [message]
        parts = list(_parts(message))
        chosen = self._random.randrange(len(parts))
        parts[chosen] = self._signed(parts[chosen], self._mutated(bytearray(parts[chosen])))
        found = b"".join(parts)
        match self._random.randrange(60):
            case 0:
                return []
            case 1:
                return [found, found]
            case 2:
                return [self._random.randbytes(self._random.randrange(200))]
            case 3:
                return [found + bytes(self._random.choice((1 << 20, 12 << 20)))]
            case 4:
                return [found[: self._random.randrange(len(found) + 1)]]
        return [found]

    def _mutated(self, part: bytearray) -> bytearray:
        draw = self._random
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            at = draw.randrange(64 if draw.random() < 0.85 and len(part) > 64 else 0, max(len(part), 1))
            # Lengths, offsets and counts are at the beginning of a body.
            if draw.random() < 0.6 and len(part) > 72:
                at = draw.randrange(64, min(len(part), 136))
            kind = draw.randrange(10)
            if kind < 4:
                size = draw.choice((1, 2, 4, 8))
                extreme = draw.choice(
                    (0, 1, 2, 7, 64, len(part), 1 << 15, (1 << 31) - 1, 1 << 31, (1 << 63) - 1)
                )
                value = (-1 if draw.random() < 0.3 else extreme) % (1 << (8 * size))
                part[at : at + size] = value.to_bytes(size, "little")
            elif kind < 6:
                part[at : at + 1] = bytes([draw.randrange(256)])
            elif kind == 6:
                part[8:12] = draw.choice((*STATUSES, draw.randrange(1 << 32))).to_bytes(4, "little")
            elif kind == 7:
                del part[at:]
            elif kind == 8:
                part += draw.randbytes(draw.randrange(1, 300))
            else:
                where, size = draw.choice(((12, 2), (14, 2), (16, 4), (20, 4), (24, 8), (4, 2), (36, 4)))
                part[where : where + size] = draw.randrange(1 << (8 * size)).to_bytes(size, "little")
        return part

    def _signed(self, original: bytes, part: bytearray) -> bytes:
        session = self._sessions.get(int.from_bytes(original[40:48], "little"))
        if session is None or not session.signing_key or not self._signs or len(part) < 64:
            return bytes(part)
        wire = session.connection
        make = signer(wire.dialect, wire.signing_algorithm_id, session.signing_key)
        unsigned = with_signature(bytes(part), bytes(16))
        return with_signature(unsigned, make(int.from_bytes(part[24:32], "little"), (unsigned,), answer=True))


def _parts(message: bytes) -> Iterator[bytes]:
    while (following := int.from_bytes(message[20:24], "little")) and following < len(message):
        yield message[:following]
        message = message[following:]
    yield message


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> dict[int, Any]:
    """Sessions by id."""
    found: dict[int, Any] = {}
    real = smb_login._new_session

    def keep(*arguments: Any) -> Any:
        made = real(*arguments)
        found[made.session_id] = made
        return made

    monkeypatch.setattr(smb_login, "_new_session", keep)
    return found


@pytest.mark.timeout(max(300, CASES))
def test_answers(
    samba: SambaServer,
    smb_folder: Path,
    tap: Tap,
    open_smb: OpenSmb,
    sessions: dict[int, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Mutated lengths, offsets, counts, statuses; truncated, too long, twice, never."""
    (smb_folder / "file").write_bytes(os.urandom(200_000))
    (smb_folder / "folder").mkdir()
    printed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", printed.append)
    wrong: list[str] = []
    counts = {"done": 0, "error": 0}
    begun = time.monotonic()
    for number in (*REGRESSIONS, *range(SEED, SEED + CASES)):
        case = Fuzz(number, sessions)
        tap.change = unchanged
        share = open_smb(
            *(samba, "data", smb_folder.name),
            port=tap.port,
            encrypt=False,
            timeout_s=1.0,
            resume=case.resume,
        )
        start = time.monotonic()
        try:
            if case.connected:
                share.stat("")
            tap.change = case.change
            case.operation(share, f"name-{number}")
            counts["done"] += 1
        except ReleaseError as error:
            counts["error"] += 1
            if not error.message:
                wrong.append(f"{number}: no message")
        except BaseException as error:  # noqa: BLE001 - what must not be
            wrong.append(f"{number}: {error!r}")
            print(f"\n{wrong[-1]}", flush=True)  # noqa: T201
        tap.change = unchanged
        with contextlib.suppress(ReleaseError):
            share.close()
        tap.cut()
        tap.headers.clear()
        tap.sent.clear()
        tap.received.clear()
        took = time.monotonic() - start
        if took > GENEROUS_S:
            wrong.append(f"{number}: took {took:.0f} s")
        sessions.clear()
    print(f"\nSMB answers: {counts} in {time.monotonic() - begun:.0f} s")  # noqa: T201
    assert not wrong, "\n".join(wrong)
    assert not printed
