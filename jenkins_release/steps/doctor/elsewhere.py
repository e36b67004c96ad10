"""Checks of what else a release may use: portal and ledger. What would change something is only named."""

from __future__ import annotations

from functools import partial

from jenkins_release.base.checks import Examination, Found
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.doctor.share import refused_login

_AWS = "aws: identity"


def examine_elsewhere(examination: Examination, services: Services) -> None:
    """Check portal and ledger, and name what has a check of its own."""
    configuration = services.configuration
    portal, ledger = configuration.portal, configuration.ledger
    if portal.kind == "none":
        examination.skip("portal", "not configured: portal.kind")
    else:
        needs = [_AWS] if portal.kind == "s3" else refused_login(examination)
        examination.check("portal", partial(_portal, services), *needs)
    if ledger.kind == "none":
        examination.skip("ledger", "not configured: ledger.kind")
    else:
        needs = [_AWS] if ledger.kind == "s3" else refused_login(examination)
        examination.check("ledger", partial(_ledger, services), *needs)
    notifiers = ", ".join(section.name for section in configuration.notify)
    why = f"{notifiers}: 'jenkins-release notify test' sends a message" if notifiers else ""
    examination.skip("notifications", why or "not configured: [[notify]]")
    stack = configuration.saas.services
    why = "'jenkins-release saas status' looks at the stack" if stack else "not configured: saas.services"
    examination.skip("saas", why)


def _portal(services: Services) -> Found:
    count = len(services.portal.files(services.configuration.product.name))
    return Found(
        f"{services.portal.name} may be read; {count} file{'' if count == 1 else 's'} of the product"
    )


def _ledger(services: Services) -> Found:
    ledger = services.ledger
    if ledger is None:
        return Found("there is none")
    ledger.folders(services.configuration.product.name)
    return Found(f"{ledger.name} may be read")
