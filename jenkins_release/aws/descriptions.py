"""The descriptions of services, regions and endpoints that come with botocore, read without losing time."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from typing import Any

from botocore.loaders import JSONFileLoader
from pydantic_core import from_json

_OPEN: Mapping[str, Callable[..., Any]] = {".json": open, ".json.gz": gzip.open}


class DescriptionFiles(JSONFileLoader):  # type: ignore[misc]  # botocore has no types
    """Reads files as dicts: botocore makes an ``OrderedDict`` of each object, which takes twice as long."""

    def load_file(self, file_path: str) -> Any:
        """Read a file whose name is given without ``.json`` or ``.json.gz``; None if there is none.

        Raises:
            ValueError: It is no JSON.
        """
        for ending, opened in _OPEN.items():
            try:
                with opened(file_path + ending, "rb") as file:
                    return from_json(file.read())
            except (FileNotFoundError, IsADirectoryError):
                continue
        return None
