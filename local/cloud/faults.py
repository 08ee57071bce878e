"""A test switch, off by default: calls to the embedded cloud that fail as a script says.

The script is a file in the state folder (JSON, or YAML, which contains it), read again whenever it changes. Whoever can
write there can turn the switch at run time; nobody over the network can. What struck is written down beside it.
"""

import fcntl
import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from local.cloud.settings import CloudSettings

DELIVERY = "events:Deliver"  # no action of IAM's: what EventBridge does for a rule
LONGEST_SECONDS = 900.0


class Kind(StrEnum):
    """What happens to a call."""

    THROTTLE = "throttle"
    ERROR = "error"  # the service's own fault, 5xx
    TIMEOUT = "timeout"  # not performed, and no answer
    SLOW = "slow"
    DENIED = "denied"
    LOST = "lost"  # performed, and its answer is lost
    DUPLICATE = "duplicate"
    KILLED = "killed"  # the process that does the work: one function's environment, or one job
    DISK_FULL = "disk-full"  # for that process
    CLOUD_KILLED = "cloud-killed"


IN_PROCESS = frozenset({Kind.KILLED, Kind.DISK_FULL})
ON_THE_WAY = frozenset(Kind) - IN_PROCESS
_PROCESSES = (
    "lambda:InvokeFunction",
    "sagemaker:CreateTrainingJob",
    "sagemaker:CreateTransformJob",
    "glue:StartJobRun",
)
_ONLY_FOR = {
    Kind.KILLED: _PROCESSES,
    Kind.DISK_FULL: _PROCESSES,
}


class FaultScriptError(ValueError):
    """A script that cannot be followed; the message says where it is wrong and what to do."""


class Fault(BaseModel):
    """One thing that goes wrong, and what it is aimed at; all that is given must fit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, description="Its own, in the script and in the record of what struck.")]
    kind: Kind
    call: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9-]+:[A-Za-z0-9*]+$",
            description=f"An IAM action such as sagemaker:CreateTrainingJob, dynamodb:*, or {DELIVERY}.",
        ),
    ]
    caller: Annotated[str, Field(description="Part of the name of the caller's role.")] = ""
    state: Annotated[str, Field(description="The state whose task the call is; no other call then fits.")] = ""
    contains: Annotated[tuple[str, ...], Field(description="What the request must hold, each of it.")] = ()
    first: Annotated[int, Field(ge=1, description="The number of the fitting call that is struck first.")] = 1
    times: Annotated[int, Field(ge=1, description="How many fitting calls are struck, one after the other.")] = 1
    seconds: Annotated[
        float, Field(ge=0, le=LONGEST_SECONDS, description="How long it takes, or until the process is killed.")
    ] = 0.0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        allowed = _ONLY_FOR.get(self.kind)
        if allowed and self.call not in allowed:
            raise ValueError(f"{self.kind} strikes {', '.join(allowed)} only, not {self.call}")
        if self.call == DELIVERY and self.kind not in (Kind.DUPLICATE, Kind.CLOUD_KILLED):
            raise ValueError(f"a delivery is duplicated, not {self.kind}; local.cloud.chaos drops and delays them")
        if self.kind is Kind.SLOW and not self.seconds:
            raise ValueError("slow needs seconds above 0")
        if self.kind is Kind.DISK_FULL and not sys.platform.startswith("linux"):
            raise ValueError("disk-full rests on prlimit, which Linux alone has")
        return self

    def fits(self, call: "Call") -> bool:
        """Whether the call is one it is aimed at."""
        return (
            fnmatchcase(call.action, self.call)
            and self.caller in call.caller
            and self.state in ("", call.state)
            and all(text in call.text for text in self.contains)
        )


class Script(BaseModel):
    """All faults of the moment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    faults: tuple[Fault, ...] = ()

    @model_validator(mode="after")
    def _named_apart(self) -> Self:
        twice = [name for name, count in Counter(fault.name for fault in self.faults).items() if count > 1]
        if twice:
            raise ValueError(f"each fault needs a name of its own: {', '.join(twice)} stands there twice")
        return self

    @classmethod
    def read(cls, file: Path) -> "Script":
        """The file's faults, none when there is no file; FaultScriptError says what is wrong with it."""
        try:
            return cls.model_validate(yaml.safe_load(file.read_text()) or {})
        except FileNotFoundError:
            return cls()
        except yaml.YAMLError as error:
            raise FaultScriptError(f"{file} is neither JSON nor YAML: {error}. Correct it, or remove it.") from error
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, one['loc'])) or 'script'}: {one['msg']}" for one in error.errors(include_url=False)
            )
            raise FaultScriptError(f"{file}: {wrong}. Correct it, or remove it to switch faults off.") from error


@dataclass(frozen=True)
class Call:
    """Something that is about to happen in the cloud."""

    action: str
    caller: str  # the name of the role, if it is one
    state: str  # of the state machine whose task it is
    text: str  # the request


@dataclass(frozen=True)
class Strike:
    """A fault that happened."""

    name: str
    kind: str
    action: str
    caller: str
    state: str
    number: int  # of the fitting calls, from 1


@contextmanager
def injected(settings: CloudSettings, *faults: Fault) -> Iterator[None]:
    """Adds faults to the script of a running cloud, and takes them out again; others may do so at the same time."""
    names = {fault.name for fault in faults}
    _rewrite(settings, lambda present: (*present, *faults))
    try:
        yield
    finally:
        _rewrite(settings, lambda present: tuple(fault for fault in present if fault.name not in names))


def strikes(settings: CloudSettings, name: str = "") -> list[Strike]:
    """What has struck so far, in order: all of it, or of one fault."""
    if not settings.strikes_file.exists():
        return []
    found = [Strike(**json.loads(line)) for line in settings.strikes_file.read_text().splitlines()]
    return [strike for strike in found if name in ("", strike.name)]


def _rewrite(settings: CloudSettings, change: Callable[[tuple[Fault, ...]], tuple[Fault, ...]]) -> None:
    file = settings.faults_file
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        faults = change(Script.read(file).faults)
        if not faults:
            file.unlink(missing_ok=True)
            return
        script = Script(faults=faults)
        written = file.with_suffix(".new")
        written.write_text(script.model_dump_json(exclude_defaults=True, indent=1))
        written.replace(file)


class Faults:
    """What the server sees of the script: it looks at the file before each call."""

    def __init__(self, settings: CloudSettings) -> None:
        self._file = settings.faults_file
        self._record = settings.strikes_file
        self._lock = threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._script: Script | FaultScriptError = Script()
        self._counts = Counter[Fault]()

    @property
    def on(self) -> bool:
        """Whether there is a script."""
        return self._file.exists()

    def strike(self, call: Call, kinds: Collection[Kind] = ON_THE_WAY) -> Fault | None:
        """The fault that the call meets, of these kinds; FaultScriptError while the script is wrong."""
        with self._lock:
            for fault in self._faults():
                if fault.kind in kinds and fault.fits(call):
                    self._counts[fault] += 1
                    number = self._counts[fault]
                    if fault.first <= number < fault.first + fault.times:
                        self._write_down(Strike(fault.name, fault.kind, call.action, call.caller, call.state, number))
                        return fault
        return None

    def _faults(self) -> tuple[Fault, ...]:
        try:
            found = self._file.stat()
        except FileNotFoundError:
            self._seen, self._script = None, Script()
            self._counts.clear()
            return ()
        if self._seen != (found.st_ino, found.st_mtime_ns):
            self._seen = found.st_ino, found.st_mtime_ns
            try:
                self._script = Script.read(self._file)
            except FaultScriptError as error:
                self._script = error
        if isinstance(self._script, FaultScriptError):
            raise self._script
        return self._script.faults

    def _write_down(self, strike: Strike) -> None:
        with self._record.open("a") as record:
            record.write(f"{json.dumps(asdict(strike))}\n")
            record.flush()
            os.fsync(record.fileno())  # the next moment may be the cloud's last
