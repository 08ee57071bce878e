"""Values of MiniStack's stores as JSON text; large binary parts are files, named by their content."""

import ast
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from ministack.core import persistence

from local.cloud.repairs.patching import expect

_INLINE_BYTES = 4096
_BLOB = "__journal_blob__"


def check() -> None:
    """RepairError when MiniStack's own encoding has changed."""
    expect(persistence, "_json_default", "(obj)", ('"__bytes__"', '"__scoped__"'))
    expect(persistence, "_json_object_hook", "(obj)")


class Codec:
    """Encodes and decodes; a file once written is not written again."""

    def __init__(self, blobs: Path) -> None:
        self.blobs = blobs
        # The content is kept beside its name: a number of an object that is gone may belong to another one.
        self._written: dict[int, tuple[bytes, str]] = {}

    def encode(self, value: Any) -> str:
        """The JSON text of a value; raises TypeError when it has none."""
        return json.dumps(value, default=self._default)

    def decode(self, text: str) -> Any:
        """The value of a text that `encode` gave."""
        return json.loads(text, object_hook=self._hook)

    def _default(self, value: Any) -> Any:
        if isinstance(value, bytes) and len(value) > _INLINE_BYTES:
            return {_BLOB: self._write(value)}
        return persistence._json_default(value)

    def _hook(self, value: dict[str, Any]) -> Any:
        if _BLOB in value:
            return (self.blobs / value[_BLOB]).read_bytes()
        return persistence._json_object_hook(value)

    def _write(self, content: bytes) -> str:
        known = self._written.get(id(content))
        if known is not None and known[0] is content:
            return known[1]
        name = hashlib.sha256(content).hexdigest()
        path = self.blobs / name
        if not path.exists():
            self.blobs.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(f".{os.getpid()}-{id(content)}")
            draft.write_bytes(content)
            draft.replace(path)
        self._written[id(content)] = content, name
        return name


def key_of(key: Any) -> str:
    """The text of a store's key: a string, a number, None or a tuple of such."""
    return repr(key)


def key_from(text: str) -> Any:
    """The key of a text that `key_of` gave."""
    return ast.literal_eval(text)
