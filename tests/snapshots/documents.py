"""Documents that a version of the program signed: kept once, and read by every later version.

``tests/data/documents/VERSION`` holds what one release of :mod:`tests.snapshots.test_results` left behind,
without images, and the public keys. The private keys were made for that run and are gone. A folder is never
rewritten: if a later version could not read it, customers could not read theirs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jenkins_release.base.version import __version__
from tests.fixtures.release import Product

KEPT = Path(__file__).parents[1] / "data" / "documents"
RELEASE = "SkyDRM/8.1.0"
CANDIDATE = f"{RELEASE}/42"
INSTALLER = "SkyDRM-8.1.0.msi"


def installer() -> bytes:
    """Return the bytes of the installer, which is not kept."""
    return b"installer of 8.1.0\n" * 500


def missing() -> bool:
    """Whether this version has kept no documents yet."""
    return not (KEPT / __version__).exists()


def keep(product: Product, folder: Path, events: Sequence[Any]) -> None:
    """Keep what a release left behind.

    Args:
        product: The product.
        folder: Where its ledger, its plan and its root keys are.
        events: What the webhook got.
    """
    target = KEPT / __version__
    small = (
        (product.share, f"{CANDIDATE}/candidate.json"),
        (product.share, f"{CANDIDATE}/attestations/*"),
        (product.share, f"{CANDIDATE}/journal/*"),
        (product.share, "SkyDRM/.trust/*"),
        (product.releases, f"{RELEASE}/release.json"),
        (folder, "ledger/**/*.json"),
        (folder, "plan.json"),
        (folder, ".local/**/*.json"),
        (product.folder, "keys/*.pub"),
        (product.folder, "8.1.0.jsonl"),
        (product.folder, "setup.zip"),
    )
    names = {product.share: "share", product.releases: "releases", folder: "", product.folder: ""}
    for place, pattern in small:
        found = [path for path in place.glob(pattern) if path.is_file()]
        assert found, pattern
        for path in found:
            copy = target / names[place] / path.relative_to(place)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    (target / "events.json").write_text(json.dumps(list(events), indent=2, sort_keys=True) + "\n")
