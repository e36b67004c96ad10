"""Installers on the build machine: finds and reads them, and checks their signatures."""

from jenkins_release.installers.local_file import LocalFile, find_files
from jenkins_release.installers.signature import CheckResult, SignatureCheck

__all__ = ["CheckResult", "LocalFile", "SignatureCheck", "find_files"]
