"""Ends a server when the process that started it is gone, for any reason.

A separate program, run by its path: it needs no package, and runs as root for a server of root. Only the
starting process has the other end of the pipe on its standard input. The kernel closes that end even after
SIGKILL, which a signal handler cannot do; and unlike the parent death signal (PR_SET_PDEATHSIG of prctl(2)),
a pipe survives sudo, a server that changes its user, and a thread that ends before its process. A word on the
pipe means that the server is to stay.
"""

import contextlib
import os
import select
import signal
import sys

UNTIED = b"stay"
"""What is written to the pipe if the server is to stay."""
WATCHES = b"watches"
"""What is written to standard output once it watches, or if there is nothing left to watch."""


def main(pid: int, grace_s: float) -> None:
    """Wait for the server or the pipe to end, then end the server.

    Args:
        pid: The server, which leads its session.
        grace_s: Seconds between SIGTERM and SIGKILL for what is left of the session.
    """
    server = None
    with contextlib.suppress(ProcessLookupError):
        server = os.pidfd_open(pid)
    # The starting process may already be gone, which is all the more reason to watch.
    with contextlib.suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), WATCHES)
    if server is None:
        return
    ended, _, _ = select.select([server, sys.stdin.fileno()], [], [])
    if server in ended or os.read(sys.stdin.fileno(), len(UNTIED)):
        return
    with contextlib.suppress(ProcessLookupError):
        # The descriptor always refers to this process, while its number may belong to another one by now.
        signal.pidfd_send_signal(server, signal.SIGTERM)
        os.killpg(pid, signal.SIGCONT)
        if not select.select([server], [], [], grace_s)[0]:
            os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
