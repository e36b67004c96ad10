"""The support window of the product today."""

from __future__ import annotations

from collections.abc import Iterable

from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.rules.release.support import Window, promised_lines, support_window
from jenkins_release.steps.context.services import Services


def current_window(
    released: Iterable[ReleaseVersion], services: Services, withdrawn: Iterable[ReleaseVersion] = ()
) -> Window:
    """Return the supported lines by ``[support]``, today in UTC.

    Args:
        released: Versions that were released.
        services: The configuration, and the time.
        withdrawn: Withdrawn versions; they open no line.
    """
    section, today = services.configuration.support, services.now().date()
    promised = promised_lines(section.ends, today)
    return support_window(
        released, withdrawn=withdrawn, count=section.lines, kind=section.line, promised=promised
    )
