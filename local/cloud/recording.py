"""What every role was allowed and denied, written down while the cloud runs: what least privilege is proven by.

Recording is on while `calls.jsonl` lies in the state folder. Each call stands in it once, however often it was made.
"""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.cloud.settings import CloudSettings

# Of the context a policy's condition may ask for; times and ids of requests would make every call another one.
_CONTEXT = ("iam:passedtoservice", "cloudwatch:namespace", "aws:sourcearn", "aws:sourceaccount", "aws:resourceaccount")


@dataclass(frozen=True)
class Call:
    """One question to the policies of a role, and their answer."""

    role: str  # its name
    action: str
    resource: str
    allowed: bool
    context: dict[str, str] = field(default_factory=dict)


def start(settings: CloudSettings) -> None:
    """Turns recording on; what was recorded before stays."""
    settings.calls_file.parent.mkdir(parents=True, exist_ok=True)
    settings.calls_file.touch()


def read(settings: CloudSettings) -> list[Call]:
    """What was recorded so far, in order."""
    return [Call(**json.loads(line)) for line in settings.calls_file.read_text().splitlines()]


class Recorder:
    """The server's side: asked for each decision of a policy engine."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._seen: set[str] = set()

    def __call__(self, request: Any, allowed: bool) -> None:
        """Writes the call down unless it is known; only roles are recorded, people are not."""
        if request.principal_type != "AssumedRole" or not self._file.exists():
            return
        context = {name: str(request.service_context[name]) for name in _known(request.service_context)}
        line = json.dumps(
            {
                "role": request.principal_arn.split("/")[1],
                "action": request.action,
                "resource": request.resource_arn,
                "allowed": allowed,
                "context": context,
            }
        )
        with self._lock:
            if line not in self._seen:
                self._seen.add(line)
                with self._file.open("a") as file:
                    file.write(f"{line}\n")


def _known(context: dict[str, Any]) -> Iterator[str]:
    return (name for name in _CONTEXT if context.get(name))
