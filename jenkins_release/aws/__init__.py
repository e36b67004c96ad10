"""AWS: clients from boto3's own credential chain, and the translation of its errors."""

from jenkins_release.aws.errors import aws_errors, error_code, retry_after, translate
from jenkins_release.aws.session import aws_client

__all__ = ["aws_client", "aws_errors", "error_code", "retry_after", "translate"]
