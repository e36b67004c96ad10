"""Jenkins as the steps see it: a part of :class:`jenkins_release.steps.context.services.Services`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.config import JENKINS_TOKEN, JENKINS_USER, Configuration, secret
from jenkins_release.config.jenkins import check_controller_url

if TYPE_CHECKING:
    from jenkins_release.jenkins import BuildServer, Controller, JobStore


class JenkinsServices:
    """The controller with the product's jobs, opened on first use."""

    configuration: Configuration
    environ: Mapping[str, str]

    @property
    def jenkins_url(self) -> str:
        """The controller's root: ``jenkins.url``, or ``JENKINS_URL`` in a build.

        Raises:
            ConfigurationError: Neither is set, or the variable is no URL of a controller.
        """
        url = self.configuration.jenkins.url or self.environ.get("JENKINS_URL", "")
        if not url:
            raise ConfigurationError(
                "no Jenkins controller is named", hint="set jenkins.url to the root of the controller"
            )
        try:
            return check_controller_url(url)
        except ValueError as error:
            raise ConfigurationError(f"JENKINS_URL {error}", hint="or set jenkins.url") from error

    @property
    def jenkins_folder(self) -> str:
        """Full name of the folder with the product's jobs."""
        return self.configuration.jenkins.folder or self.configuration.product.name

    @property
    def promote_job(self) -> str:
        """Full name of the promote job."""
        return f"{self.jenkins_folder}/{self.configuration.jenkins.promote_path}"

    @cached_property
    def _controller(self) -> Controller:
        from jenkins_release.jenkins import Controller

        user, token = secret(JENKINS_USER, self.environ), secret(JENKINS_TOKEN, self.environ)
        if user is None or token is None:
            missing = " and ".join(n for n, v in ((JENKINS_USER, user), (JENKINS_TOKEN, token)) if v is None)
            raise ConfigurationError(
                f"{missing} is not set: Jenkins has to know who asks",
                hint="a token is made under the user's name in Jenkins, Security, API Token",
            )
        return Controller(
            self.jenkins_url,
            user.get_secret_value(),
            token,
            timeout_s=self.configuration.jenkins.timeout_s,
            least_rate=self.configuration.network.least_rate,
        )

    @cached_property
    def jenkins(self) -> BuildServer:
        """Jenkins, to start and follow builds."""
        return self._controller

    @cached_property
    def job_store(self) -> JobStore:
        """Jenkins, to read and write job definitions."""
        return self._controller
