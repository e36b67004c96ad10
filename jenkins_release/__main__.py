"""``python -m jenkins_release``."""

from __future__ import annotations

from jenkins_release.program import run

if __name__ == "__main__":
    run()
