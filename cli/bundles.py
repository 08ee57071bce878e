"""The code a definition runs with, packed so that the same sources give the same bytes on every machine.

Nothing is compressed: zlib's builds differ in their output, and the bytes are the identity.
"""

import base64
import csv
import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_FIRST_ZIP_MOMENT = (1980, 1, 1, 0, 0, 0)  # the earliest a zip entry can state
_FILE_MODE = 0o644
_OF_THE_INSTALLER = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}


@dataclass(frozen=True)
class Bundle:
    """One packed file, named and addressed by its content."""

    filename: str
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def key(self) -> str:
        return f"bundles/{self.sha256}/{self.filename}"

    def uri(self, bucket: str) -> str:
        """Where the bundle stands once stored."""
        return f"s3://{bucket}/{self.key}"

    def store(self, s3: "S3Client", bucket: str) -> bool:
        """Puts the bundle where its content says, unless it is there; whether it was new."""
        if _exists(s3, bucket, self.key):
            return False
        s3.put_object(Bucket=bucket, Key=self.key, Body=self.content)
        return True


def model_bundle(folder: Path) -> Bundle:
    """`model.tar.gz` of the training code: SageMaker's submit directory, flat modules only."""
    return Bundle("model.tar.gz", _tar({path.name: path.read_bytes() for path in sorted(folder.glob("*.py"))}))


def script_bundle(path: Path) -> Bundle:
    """A single script as it is."""
    return Bundle(path.name, path.read_bytes())


def wheel_bundle(name: str) -> Bundle:
    """An installed pure-Python distribution, packed back into a wheel without what its installer added."""
    installed = distribution(name)
    files = {
        file.as_posix(): Path(str(installed.locate_file(file))).read_bytes()
        for file in installed.files or ()
        if "__pycache__" not in file.parts and file.name not in _OF_THE_INSTALLER
    }
    info = next(file.split("/", 1)[0] for file in files if file.endswith(".dist-info/WHEEL"))
    files[f"{info}/RECORD"] = _record(files, info)
    tag = files[f"{info}/WHEEL"].decode().split("Tag: ", 1)[1].split()[0]
    return Bundle(f"{name}-{installed.version}-{tag}.whl", _zip(files))


def _tar(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), _FILE_MODE
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), compresslevel=0, mtime=0)


def _zip(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _FIRST_ZIP_MOMENT)
            entry.external_attr = _FILE_MODE << 16
            archive.writestr(entry, content)
    return packed.getvalue()


def _record(files: Mapping[str, bytes], info: str) -> bytes:
    """The wheel's own list of its files: name, unpadded base64 SHA-256, size."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    for name, content in sorted(files.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        writer.writerow([name, f"sha256={digest}", len(content)])
    writer.writerow([f"{info}/RECORD", "", ""])
    return lines.getvalue().encode()


def _exists(s3: "S3Client", bucket: str, key: str) -> bool:
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return False
        raise
    return True
