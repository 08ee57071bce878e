"""Fixtures of the jobs' tests."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.unit.jobs.harness import FolderS3, Preprocess, load_job


@pytest.fixture(scope="session")
def preprocess_module() -> ModuleType:
    """jobs/preprocess/preprocess.py."""
    return load_job("preprocess/preprocess.py")


@pytest.fixture
def job(tmp_path: Path, preprocess_module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Preprocess:
    """The job, with no uploads yet."""
    s3 = FolderS3(tmp_path / "s3")
    monkeypatch.setattr(preprocess_module, "s3", lambda: s3)
    # Also where Spark is installed: its own tests ask for it.
    monkeypatch.setattr(preprocess_module, "find_spec", lambda name: None)
    return Preprocess(preprocess_module, s3)


@pytest.fixture
def hourly(job: Preprocess) -> Callable[..., Preprocess]:
    """The job on a series of hourly counts, the holdout its newest day and the season a day."""

    def define(**data: Any) -> Preprocess:
        columns = {"at": "timestamp", "count": "integer", "note": "string", "level": "number"}
        section = {"columns": columns, "target": "count", "task": "regression", "timestamp": "at", "key": ["at"]}
        gate = {"metric": "mae", "threshold": 1, "holdout": "1d", "season": "1d"}
        job.define({**section, **data}, gate)
        return job

    return define
