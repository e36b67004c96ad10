"""Names of variables, options and parameters that suggest a secret, as regular expressions without case."""

from __future__ import annotations

CERTAIN = r"password|passwd|passphrase|secret|token|credential|api[_-]?key|private[_-]?key|webhook"
"""What names a secret: whatever has such a name is replaced wherever it occurs."""
POSSIBLE = rf"{CERTAIN}|pass|pwd|private|[a-z][_-]?key|dsn|connection[_-]?string|auth(?!or)"
"""What may name one: too much to replace everywhere, but the value itself is not shown."""
