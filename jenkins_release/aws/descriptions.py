"""The descriptions of services, regions and endpoints that come with botocore, read without losing time."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import DataNotFoundError
from botocore.loaders import JSONFileLoader, Loader
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


class Descriptions(Loader):  # type: ignore[misc]  # botocore has no types
    """Finds descriptions by service, and looks through those of all the others only for an error.

    Args:
        paths: Further folders, as in ``AWS_DATA_PATH``.
    """

    def __init__(self, paths: str | None) -> None:
        folders = [] if paths is None else paths.split(os.pathsep)
        found = [os.path.expanduser(os.path.expandvars(folder)) for folder in folders]  # noqa: PTH111 - as botocore
        super().__init__(extra_search_paths=found, file_loader=DescriptionFiles())

    def list_available_services(self, type_name: str) -> _Services:
        """Return the services that have descriptions of a type, such as ``service-2``."""
        return _Services(self, type_name)


class _Services:
    def __init__(self, descriptions: Descriptions, type_name: str) -> None:
        self._descriptions = descriptions
        self._type_name = type_name

    def __contains__(self, service: str) -> bool:
        try:
            self._descriptions.list_api_versions(service, self._type_name)
        except DataNotFoundError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(Loader.list_available_services(self._descriptions, self._type_name))
