"""In which region a bucket is: as S3 itself says it, or the configuration is wrong."""

from __future__ import annotations

from datetime import timedelta
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from jenkins_release.aws.s3 import regional_client
from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.ledger import S3Ledger
from jenkins_release.portal import S3Portal
from jenkins_release.steps.context.trust_store import S3TrustStore
from tests.fixtures.s3 import REGION, Fault, S3Double
from tests.portal.test_contract import SMALL, ignore, upload

ELSEWHERE = "eu-west-1"
FILE = upload(SMALL)


def test_another_region_than_the_buckets_is_refused(bucket: str, s3: S3Double) -> None:
    """Boto3 follows S3 there without a word, but links are signed for the region that is configured."""
    with pytest.raises(ConfigurationError, match=f"is in {REGION}, but portal.region is {ELSEWHERE}"):
        S3Portal(bucket, ELSEWHERE).put(FILE, ignore)
    with pytest.raises(ConfigurationError, match=f"is in {REGION}, but ledger.region is {ELSEWHERE}"):
        S3Ledger(bucket, ELSEWHERE).read("SkyDRM")
    with pytest.raises(ConfigurationError, match=f"is in {REGION}, but trust.region is {ELSEWHERE}"):
        S3TrustStore(bucket, "", ELSEWHERE).read()
    assert {call.action for call in s3.calls} == {"HeadBucket"}


@pytest.mark.parametrize("may_list", [True, False])
def test_without_a_region_it_is_the_buckets_own(bucket: str, s3: S3Double, may_list: bool) -> None:
    """The link works, whatever region the registry is in; S3 tells it also who may not list the bucket."""
    if not may_list:
        s3.faults.append(Fault(lambda call: call.action == "HeadBucket", 403, "", ""))
    portal = S3Portal(bucket, "", default_region=ELSEWHERE)
    portal.put(FILE, ignore)
    link = portal.link(FILE.path, customer="ACME", expires=timedelta(hours=1)).url
    with urlopen(link) as answer:  # noqa: S310 - loopback
        assert answer.read() == SMALL
    assert f"%2F{REGION}%2Fs3%2F" in link
    assert S3TrustStore(bucket, "t", "", default_region=ELSEWHERE).read() == {}
    assert S3Ledger(bucket, "", default_region=ELSEWHERE).add("a.json", b"{}\n").data == b"{}\n"


def test_a_busy_s3_decides_nothing(bucket: str, s3: S3Double, monkeypatch: pytest.MonkeyPatch) -> None:
    """The region is not known then: the step asks again."""
    monkeypatch.setattr("random.uniform", lambda low, _: low)
    s3.faults.append(Fault(lambda call: call.action == "HeadBucket", times=5))
    portal = S3Portal(bucket, "", default_region=ELSEWHERE)
    with pytest.raises(RemoteError) as caught:
        portal.files("SkyDRM")
    assert caught.value.retryable
    assert portal.files("SkyDRM") == []


def test_the_double_answers_as_s3_does(bucket: str) -> None:
    """A link that is signed for another region is refused to the customer."""
    wrong = regional_client(ELSEWHERE)
    wrong.put_object(Bucket=bucket, Key="a", Body=b"x")  # botocore follows
    link = wrong.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a"})
    with pytest.raises(HTTPError, match="400"):
        urlopen(link)  # noqa: S310 - loopback
