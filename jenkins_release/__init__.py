"""Promote exactly what QA validated: from Jenkins to the SMB share to Amazon ECR.

The verbs of the release process and their request and report types, as pipeline steps import
them::

    from jenkins_release import ExportRequest, Services, export_candidate, load_configuration

    services = Services(load_configuration(environ=os.environ))
    report = export_candidate(ExportRequest(version="8.1.0", build="42"), services)

``__init__.pyi`` lists these names, for type checkers and for this module. Each is imported on first use, so
that ``import jenkins_release`` loads neither boto3 nor docker.
"""

from __future__ import annotations

from pathlib import Path

from jenkins_release.base.lazy_imports import homes_in_stub, imported_on_use

_HOMES = homes_in_stub(__name__, Path(__file__).with_suffix(".pyi"))
__all__ = sorted(_HOMES)
__getattr__ = imported_on_use(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
