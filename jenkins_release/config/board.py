"""The section ``[board]`` of ``release.toml``: where the release board is kept up to date. No secret."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from jenkins_release.config.portal import folder_path
from jenkins_release.config.section import Section

BOARDS = "boards"
"""Folder of the boards in the portal's bucket."""


class BoardSection(Section):
    """``[board]``: where every command that changes a release writes the board again.

    ``share`` is a folder on the share ``share.releases``; ``portal`` stands for the portal's bucket. With
    ``customers``, the board names who may pull, as IAM and the repository policies know it.
    """

    share: Annotated[str, AfterValidator(folder_path)] = ""
    portal: bool = False
    customers: bool = False

    @property
    def kept(self) -> bool:
        """Whether it is written anywhere but on request."""
        return bool(self.share) or self.portal

    def problems(self, product: str, releases: str, *, private_bucket: bool) -> list[str]:
        """Say what does not fit the rest of the configuration.

        Args:
            product: Name of the product.
            releases: ``share.releases``.
            private_bucket: Whether the portal is a bucket that nobody reads without a signed link.
        """
        found = []
        if self.share and not releases:
            found.append("board.share names a folder on share.releases, which is not set")
        if self.share.partition("/")[0].casefold() == product.casefold():
            found.append(f"board.share is in the folder of the releases of {product}: name another one")
        if self.portal and not private_bucket:
            found.append(
                'board.portal needs portal.kind = "s3" and portal.access = "presigned": the board names '
                "people, and is not for customers"
            )
        if self.portal and product.casefold() == BOARDS:
            found.append(f"board.portal uses the folder {BOARDS}/, which is the product's own")
        return found
