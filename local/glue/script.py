"""One run of a job's script: what it needs is fetched as the job's role, then it is a process of its own."""

import hashlib
import os
import shutil
import signal
import subprocess
import threading
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from botocore.exceptions import ClientError

from local.guard import GUARD

_ARCHIVES: Final = frozenset({".zip", ".whl", ".egg"})
_HOST_VARIABLES: Final = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "TZ")
# Read by Glue itself and never handed to the script.
_CONSUMED: Final = frozenset(
    {
        "--additional-python-modules",
        "--class",
        "--conf",
        "--extra-files",
        "--extra-jars",
        "--extra-py-files",
        "--job-language",
        "--python-modules-installer-option",
        "--user-jars-first",
    }
)
_KILL_AFTER_SECONDS: Final = 5


class LaunchError(Exception):
    """The script could not be started; the message is the run's error message."""


@dataclass(frozen=True)
class Ended:
    """How a script ended: its exit code, its output, and whether it was cut off."""

    exit_code: int
    output: Sequence[str]
    errors: Sequence[str]
    timed_out: bool = False

    @property
    def message(self) -> str:
        """The traceback's last line, or the exit code when there is no traceback."""
        last = next((line for line in reversed(self.errors) if line.strip()), "")
        traced = any(line.startswith("Traceback (most recent call last)") for line in self.errors)
        return last if traced else f"Command failed with exit code {self.exit_code}"


@dataclass
class Script:
    """A script and its arguments; `run` blocks until it ended, `stop` may be called from any thread."""

    location: str
    arguments: Mapping[str, str]
    python: Path
    work: Path
    packages: Path
    _process: subprocess.Popen[bytes] | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)

    def fetch(self, s3: Any) -> None:
        """Puts script and libraries in place; raises LaunchError naming the object that cannot be read."""
        self.work.mkdir(parents=True)
        self._file.write_bytes(_download(s3, self.location))
        self._libraries = [self._library(s3, uri) for uri in self._library_uris()]

    def run(self, environment: Mapping[str, str], timeout: float) -> Ended:
        """Runs the script to its end, its time limit in seconds, or `stop`."""
        with (self.work / "stdout").open("w+b") as output, (self.work / "stderr").open("w+b") as errors:
            timed_out = self._run(environment, timeout, output, errors)
            code = self._process.returncode if self._process else -signal.SIGTERM
            return Ended(code, _lines(output), _lines(errors), timed_out)

    def stop(self) -> None:
        """Ends the script, or keeps it from starting."""
        self._stopped.set()
        self._end()

    def kill(self) -> None:
        """Ends the script at once, or keeps it from starting."""
        self._stopped.set()
        self._signal(signal.SIGKILL)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def argv(self) -> list[str]:
        """The script's arguments in AWS's form: `--NAME value` for each."""
        passed = {name: value for name, value in self.arguments.items() if name not in _CONSUMED}
        return [word for pair in passed.items() for word in pair]

    def clear(self) -> None:
        """Removes the run's own files."""
        shutil.rmtree(self.work, ignore_errors=True)

    @property
    def _file(self) -> Path:
        return self.work / (PurePosixPath(self.location).name or "script.py")

    def _library_uris(self) -> list[str]:
        names = ("--extra-py-files", "--additional-python-modules")
        listed = ",".join(self.arguments.get(name, "") for name in names)
        return [uri.strip() for uri in listed.split(",") if uri.strip()]

    def _library(self, s3: Any, uri: str) -> Path:
        """The entry of PYTHONPATH for a library.

        Archives are unpacked once per content: from a folder, unlike from an archive, Python reuses compiled modules.
        """
        if not uri.startswith("s3://"):
            raise LaunchError(f"{uri} is not in S3, and the embedded cloud installs nothing from a package index.")
        content = _download(s3, uri)
        name = PurePosixPath(uri).name
        if PurePosixPath(name).suffix not in _ARCHIVES:
            (self.work / name).write_bytes(content)
            return self.work
        folder = self.packages / hashlib.sha256(content).hexdigest()
        if not folder.exists():
            unpacked = self.work / f"{name}.unpacked"
            with zipfile.ZipFile(BytesIO(content)) as archive:
                archive.extractall(unpacked)
            folder.parent.mkdir(parents=True, exist_ok=True)
            _move_once(unpacked, folder)
        return folder

    def _run(self, environment: Mapping[str, str], timeout: float, output: IO[bytes], errors: IO[bytes]) -> bool:
        if self.stopped:
            return False
        self._process = self._start(environment, output, errors)
        if self.stopped:  # between the check above and the start
            self._signal(signal.SIGKILL)
        with GUARD.watching(self._process.pid):
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._end()
                self._process.wait()
                return True
        return False

    def _start(self, environment: Mapping[str, str], output: IO[bytes], errors: IO[bytes]) -> subprocess.Popen[bytes]:
        kept = {name: os.environ[name] for name in _HOST_VARIABLES if name in os.environ}
        paths = os.pathsep.join(dict.fromkeys(str(path) for path in self._libraries))
        return subprocess.Popen(
            [str(self.python), str(self._file), *self.argv()],
            cwd=self.work,
            env={**kept, **environment, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )

    def _end(self) -> None:
        self._signal(signal.SIGTERM)
        forced = threading.Timer(_KILL_AFTER_SECONDS, self._signal, (signal.SIGKILL,))
        forced.daemon = True
        forced.start()

    def _signal(self, number: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


def _download(s3: Any, uri: str) -> bytes:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        content: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        detail = error.response["Error"]
        raise LaunchError(
            f"LAUNCH ERROR | Error downloading from S3 for bucket: {bucket}, key: {key}. "
            f"{detail.get('Message', '')} (Service: Amazon S3; Error Code: {detail.get('Code', '')})"
        ) from error
    return content


def _move_once(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:  # another run unpacked the same content in the meantime
        if not target.exists():
            raise


def _lines(stream: IO[bytes]) -> list[str]:
    stream.seek(0)
    return stream.read().decode(errors="replace").splitlines()
