"""The section ``[attestations]`` of ``release.toml``: what is attached to the images in the registry."""

from __future__ import annotations

from jenkins_release.config.section import Section


class AttestationsSection(Section):
    """``[attestations]``: whether ``promote run`` attaches statements, and also in cosign's legacy form."""

    attach: bool = False
    legacy_tags: bool = False
