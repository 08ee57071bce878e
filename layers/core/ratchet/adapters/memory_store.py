"""Objects in memory: the store of the default tests."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ratchet.domain.errors import ObjectMissingError
from ratchet.domain.identity import canonical_json
from ratchet.domain.ports import ObjectVersion


class MemoryStore:
    """The ObjectStore port over a dictionary; every write makes a new version, one second after the last."""

    def __init__(self) -> None:
        self._versions: dict[str, list[tuple[ObjectVersion, bytes]]] = {}
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def write(self, uri: str, body: bytes) -> ObjectVersion:
        """Adds a version and describes it."""
        self._now += timedelta(seconds=1)
        versions = self._versions.setdefault(uri, [])
        key = uri.removeprefix("s3://").partition("/")[2]
        version = ObjectVersion(key, f"v{len(versions) + 1}", self._now, len(body))
        versions.append((version, body))
        return version

    def remove(self, uri: str) -> None:
        """Takes an object away with all its versions."""
        del self._versions[uri]

    def read(self, uri: str) -> bytes:
        if uri not in self._versions:
            raise ObjectMissingError(f"{uri} is not there")
        return self._versions[uri][-1][1]

    def read_json(self, uri: str) -> Any:
        return json.loads(self.read(uri))

    def lines(self, uri: str) -> Iterator[str]:
        return (line for line in self.read(uri).decode().splitlines() if line)

    def write_json(self, uri: str, document: object) -> None:
        self.write(uri, canonical_json(document).encode())

    def write_page(self, uri: str, page: bytes) -> None:
        self.write(uri, page)

    def exists(self, uri: str) -> bool:
        return uri in self._versions

    def list(self, prefix_uri: str) -> list[str]:
        return sorted(uri for uri in self._versions if uri.startswith(prefix_uri))

    def versions(self, bucket: str, prefix: str) -> Iterator[ObjectVersion]:
        for uri in self.list(f"s3://{bucket}/{prefix}"):
            yield from (version for version, _ in self._versions[uri])

    def head(self, bucket: str, key: str, version_id: str) -> ObjectVersion:
        return self._version(bucket, key, version_id)[0]

    def download(self, bucket: str, key: str, version_id: str, path: Path) -> ObjectVersion:
        version, body = self._version(bucket, key, version_id)
        path.write_bytes(body)
        return version

    def upload(self, path: Path, uri: str) -> None:
        self.write(uri, path.read_bytes())

    def _version(self, bucket: str, key: str, version_id: str) -> tuple[ObjectVersion, bytes]:
        uri = f"s3://{bucket}/{key}"
        for version, body in self._versions.get(uri, []):
            if version.version_id == version_id:
                return version, body
        raise ObjectMissingError(f"version {version_id} of {uri} is not there")
