"""Keys, signers and envelopes of securesystemslib, without the clouds that it can sign with.

securesystemslib imports boto3 for a client that nothing here uses;
:mod:`jenkins_release.aws.kms` brings its own.
"""

from __future__ import annotations

from jenkins_release.base.lazy_imports import left_for_later

with left_for_later("boto3"):
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import AWSSigner, CryptoSigner, Key, Signature, Signer, SSlibKey

__all__ = ["AWSSigner", "CryptoSigner", "Envelope", "Key", "SSlibKey", "Signature", "Signer"]
