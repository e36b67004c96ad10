"""Run one command and write what it used to a file: ``python -I -S _launcher.py REPORT COMMAND...``.

The kernel's peak of resident memory (``ru_maxrss``) starts with the memory of the process that
called ``fork`` (getrusage(2); ``setmax_mm_hiwater_rss`` in fs/exec.c), so a command has to be
started by a small process to be measured. Hence nothing is imported here that is not built in.
"""

import os
import sys
import time


def main() -> int:
    """Run the command, write one ``name value`` line for each figure, and return its status."""
    report, command = sys.argv[1], sys.argv[2:]
    begin = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            os.execvp(command[0], command)  # noqa: S606
        finally:
            os._exit(127)
    # Still a zombie: its counters can be read, threads that ended included.
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    seconds = time.monotonic() - begin
    lines = [f"seconds {seconds}\n"]
    try:
        with open(f"/proc/{pid}/io") as counters:  # noqa: PTH123 - pathlib doubles this process
            lines += [line.replace(":", "") for line in counters]
    except OSError:
        pass
    _, wait_status, usage = os.wait4(pid, 0)
    lines.append(f"maxrss_kib {usage.ru_maxrss}\n")
    lines.append(f"cpu {usage.ru_utime + usage.ru_stime}\n")
    with open(report, "w") as file:  # noqa: PTH123
        file.writelines(lines)
    return os.waitstatus_to_exitcode(wait_status) & 0xFF


if __name__ == "__main__":
    sys.exit(main())
