"""What the benchmark says of the bytecode that its commands find."""

from __future__ import annotations

import os
import py_compile
from pathlib import Path

from benchmarks.report import bytecode


def test_a_module_counts_as_compiled_if_python_would_take_what_is_there(tmp_path: Path) -> None:
    """Not without bytecode, not with that of an earlier source, and not with that of another Python."""
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text("x = 1\n")
    second.write_text("y = 2\n")
    py_compile.compile(str(first), doraise=True)
    assert bytecode(tmp_path) == "1 of 2 modules are not compiled"
    cached = Path(py_compile.compile(str(second), doraise=True))
    assert bytecode(tmp_path) == "compiled"
    kept = second.stat()
    second.write_text("y = 20\n")
    os.utime(second, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert bytecode(tmp_path) == "1 of 2 modules are not compiled"
    cached = Path(py_compile.compile(str(second), doraise=True))
    cached.write_bytes(b"????" + cached.read_bytes()[4:])
    assert bytecode(tmp_path) == "1 of 2 modules are not compiled"
