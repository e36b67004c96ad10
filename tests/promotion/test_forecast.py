"""The forecast of a plan, from what promotions on the share recorded."""

from __future__ import annotations

import json

import pytest

from tests.fixtures.release import Product


def test_without_an_earlier_promotion_the_time_is_unknown(exported: Product):
    """The bytes are known; the text says why the time is not."""
    found = exported.ok("promote", "plan", "8.1.0/42")
    assert found["forecast"]["bytes"] == sum(image["push_bytes"] for image in found["images"]) > 0
    assert found["forecast"]["seconds"] is found["forecast"]["bytesPerSecond"] is None
    assert "time: unknown" in exported.run("promote", "plan", "8.1.0/42").out


def test_the_time_follows_from_the_rate_of_the_last_promotion(promoted: Product):
    """Bytes and seconds stand signed in its attestation; what is promoted already takes none."""
    promoted.export("43")
    found = promoted.ok("promote", "plan", "8.1.0/43")["forecast"]
    assert found["seen"] == ["8.1.0/42"]
    assert found["seconds"] == pytest.approx(found["bytes"] / found["bytesPerSecond"], rel=0.1, abs=0.1)
    assert "as in 8.1.0/42" in promoted.run("promote", "plan", "8.1.0/43").out
    done = promoted.ok("promote", "plan", "8.1.0/42")["forecast"]
    assert (done["bytes"], done["seconds"]) == (0, 0.0)


def test_the_forecast_is_no_part_of_the_plan(promoted: Product):
    """What an approval names does not change with the weather."""
    promoted.export("43")
    before = promoted.ok("promote", "plan", "8.1.0/43")
    next((promoted.candidate() / "attestations").glob("*-promotion.dsse.json")).unlink()
    after = promoted.ok("promote", "plan", "8.1.0/43")
    assert before["forecast"] != after["forecast"]
    assert before["planDigest"] == after["planDigest"]


def test_a_rate_that_nobody_signed_does_not_count(promoted: Product):
    """A changed or foreign attestation is passed over, and the plan is made all the same."""
    promoted.export("43")
    path = next((promoted.candidate() / "attestations").glob("*-promotion.dsse.json"))
    envelope = json.loads(path.read_text())
    envelope["signatures"][0]["sig"] = "AAAA"
    path.write_text(json.dumps(envelope))
    assert promoted.ok("promote", "plan", "8.1.0/43")["forecast"]["seen"] == []
    path.write_text("{")
    assert promoted.ok("promote", "plan", "8.1.0/43")["forecast"]["seen"] == []
