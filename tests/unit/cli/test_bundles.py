"""Bundles: the same sources give the same bytes, and AWS can read them."""

import csv
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from cli.bundles import Bundle, model_bundle, script_bundle, wheel_bundle
from cli.stack import Stack


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("train.py", "features.py", "notes.txt"):
        (folder / name).write_text(f"# {name}\n")
    return folder


def test_the_model_bundle_holds_flat_modules_only(sources: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(model_bundle(sources).content)) as archive:
        assert archive.getnames() == ["features.py", "train.py"]
        assert {member.mtime for member in archive.getmembers()} == {0}
        assert {(member.uid, member.mode) for member in archive.getmembers()} == {(0, 0o644)}


def test_bytes_depend_on_contents_alone(sources: Path) -> None:
    before = model_bundle(sources)
    for path in sources.iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o700)
    assert model_bundle(sources) == before
    (sources / "train.py").write_text("# changed\n")
    assert model_bundle(sources).sha256 != before.sha256


def test_a_bundle_is_addressed_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "preprocess.py"
    path.write_text("print()\n")
    digest = hashlib.sha256(b"print()\n").hexdigest()
    assert script_bundle(path).uri("artifacts") == f"s3://artifacts/bundles/{digest}/preprocess.py"


def test_a_bundle_is_stored_once(stack: Stack) -> None:
    bundle = Bundle("a.py", b"pass\n")
    assert bundle.store(stack.s3, "artifacts")
    assert not bundle.store(stack.s3, "artifacts")
    assert stack.s3.get_object(Bucket="artifacts", Key=bundle.key)["Body"].read() == b"pass\n"


def test_the_wheel_is_whole_and_its_record_true() -> None:
    wheel = wheel_bundle("narwhals")
    assert wheel.filename.startswith("narwhals-")
    assert wheel.filename.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(io.BytesIO(wheel.content)) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
        record_name = next(name for name in names if name.endswith(".dist-info/RECORD"))
        record = {row[0]: row[1] for row in csv.reader(archive.read(record_name).decode().splitlines())}
        assert set(record) == names
        assert not {name for name in names if name.endswith((".pyc", "/INSTALLER", "/direct_url.json"))}
        for name in names - {record_name}:
            digest = urlsafe_b64encode(hashlib.sha256(archive.read(name)).digest()).rstrip(b"=").decode()
            assert record[name] == f"sha256={digest}"
    assert wheel_bundle("narwhals") == wheel


def test_the_wheel_runs_from_the_path_as_glue_puts_it(tmp_path: Path) -> None:
    wheel = wheel_bundle("narwhals")
    path = tmp_path / wheel.filename
    path.write_bytes(wheel.content)
    code = "import narwhals; print(narwhals.__file__)"
    command = [sys.executable, "-S", "-c", code]
    imported = subprocess.run(
        command, env={"PYTHONPATH": str(path)}, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert imported.stdout.startswith(str(path))
