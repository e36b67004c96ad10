"""The section ``[ledger]`` of ``release.toml``: where attestations are recorded outside the share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, model_validator

from jenkins_release.config.portal import Encryption, bucket_name, check_encryption, folder_path
from jenkins_release.config.section import Section


class LedgerSection(Section):
    """``[ledger]``: an S3 bucket or a folder where share writers have no rights.

    The environment cannot override its keys, so that no job can point a command at another ledger.
    """

    kind: Literal["none", "s3", "folder"] = "none"
    bucket: Annotated[str, AfterValidator(bucket_name)] = ""
    region: str = ""
    prefix: Annotated[str, AfterValidator(folder_path)] = ""
    encryption: Encryption = "bucket"
    kms_key: str = ""
    location: str = ""

    @model_validator(mode="after")
    def _complete(self) -> LedgerSection:
        if self.kind == "s3" and not self.bucket:
            raise ValueError('kind = "s3" needs a bucket')
        check_encryption(self.encryption, self.kms_key)
        if self.kind == "folder" and not self.location:
            raise ValueError('kind = "folder" needs a location')
        return self
