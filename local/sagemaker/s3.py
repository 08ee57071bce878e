"""What containers get from S3 and leave there, by three calls: list_objects_v2, get_object, put_object."""

import gzip
import json
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.sagemaker.store import Record


class DataError(Exception):
    """The data a job or endpoint asked for is not there, not readable, or not what it must be."""


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an `s3://` URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def join(uri: str, *parts: str) -> str:
    """A URI below another."""
    return "/".join((uri.rstrip("/"), *parts))


def find(client: Any, source: Record) -> list[tuple[str, str]]:
    """URI and relative path of each object that an S3DataSource names; raises DataError when there is none."""
    uri = source["S3Uri"]
    with _naming(uri):
        if source["S3DataType"] == "ManifestFile":
            found = list(_manifest(read(client, uri)))
        else:
            found = list(_below(client, uri))
    if not found:
        raise DataError(
            f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket '
            "exists in the selected region, and that objects exist under that S3 prefix."
        )
    return found


def read(client: Any, uri: str) -> bytes:
    """An object's bytes."""
    bucket, key = split(uri)
    with _naming(uri):
        body: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body


def download(client: Any, uri: str, path: Path) -> None:
    """Streams an object into a file; its folder is made."""
    bucket, key = split(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _naming(uri), path.open("wb") as file:
        shutil.copyfileobj(client.get_object(Bucket=bucket, Key=key)["Body"], file, 1 << 20)


def download_all(client: Any, source: Record, folder: Path) -> None:
    """All objects of an S3DataSource, into a folder."""
    for uri, relative in find(client, source):
        target = folder / relative
        if not target.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"{uri} would be written outside of its folder")
        download(client, uri, target)


def reachable(client: Any, uri: str) -> None:
    """Raises DataError when the object cannot be read; does not read it."""
    bucket, key = split(uri)
    with _naming(uri):
        client.get_object(Bucket=bucket, Key=key)["Body"].close()


def upload(client: Any, uri: str, body: bytes, kms_key_id: str | None = None) -> None:
    """Writes an object, encrypted with the key if one is given."""
    bucket, key = split(uri)
    encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_id} if kms_key_id else {}
    with _naming(uri):
        client.put_object(Bucket=bucket, Key=key, Body=body, **encryption)


def upload_folder(client: Any, folder: Path, archive: Path, uri: str) -> None:
    """Writes a folder's content as one `tar.gz` object."""
    # Artefacts are small and often already compressed: a higher level costs time and gains little.
    with tarfile.open(archive, "w:gz", compresslevel=4) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name)
    bucket, key = split(uri)
    with _naming(uri), archive.open("rb") as file:
        client.put_object(Bucket=bucket, Key=key, Body=file)


def extract(client: Any, uri: str, folder: Path) -> None:
    """Unpacks a `tar.gz` object; a member that would land outside of the folder is refused."""
    archive = folder.with_name(f"{folder.name}.tar.gz")
    download(client, uri, archive)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{uri} is not a usable tar.gz archive: {error}") from error
    finally:
        archive.unlink()


def _below(client: Any, uri: str) -> Iterator[tuple[str, str]]:
    bucket, prefix = split(uri)
    for listed in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in listed.get("Contents", []):
            if not item["Key"].endswith("/"):
                yield f"s3://{bucket}/{item['Key']}", _relative(item["Key"], prefix)


def _relative(key: str, prefix: str) -> str:
    """`a/b/c.csv` is `c.csv` below `a/b`, `a/b/`, `a/b/c` and `a/b/c.csv`."""
    if prefix.endswith("/") or key.startswith(f"{prefix}/"):
        return key[len(prefix) :].lstrip("/")
    return key[prefix.rfind("/") + 1 :]


def _manifest(content: bytes) -> Iterator[tuple[str, str]]:
    try:
        head, *names = json.loads(content)
        for name in names:
            yield head["prefix"] + name, name
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"the manifest is not a JSON list of a prefix and names: {error}") from error


@contextmanager
def _naming(uri: str) -> Iterator[None]:
    """Turns what the client raises into a DataError that names the object."""
    try:
        yield
    except ClientError as error:
        answer = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
        raise DataError(f"{answer.get('Code')} ({status}): {answer.get('Message')} - {uri}") from error
    except BotoCoreError as error:
        raise DataError(f"{error} - {uri}") from error
