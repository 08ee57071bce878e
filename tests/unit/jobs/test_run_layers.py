"""The Glue job that fetches layers: its arguments, the order of the module path, and a download that is not whole."""

import base64
import hashlib
import importlib.util
import io
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[3] / "jobs/validate_large/run_layers.py"
ARN = "arn:aws:lambda:eu-west-1:123456789012:layer"


def packed(**modules: str) -> bytes:
    """A layer."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in modules.items():
            archive.writestr(f"python/{name}.py", text)
    return content.getvalue()


JOB = """
import sys, layered_engine
if __name__ == '__main__':
    sys.ran = layered_engine.NAME, sys.argv
"""
LAYERS = {
    ("validation", 3): packed(layered_engine="NAME = 'the validation layer'"),
    ("core", 7): packed(
        layered_engine="NAME = 'the core layer'",
        layered_job=JOB,
    ),
}


class Lambda:
    """GetLayerVersion."""

    def get_layer_version(self, LayerName: str, VersionNumber: int) -> dict[str, Any]:  # noqa: N803
        digest = hashlib.sha256(LAYERS[LayerName, VersionNumber]).digest()
        return {
            "Content": {"Location": f"{LayerName}:{VersionNumber}", "CodeSha256": base64.b64encode(digest).decode()}
        }


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_layers", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.boto3, "client", lambda _: Lambda())
    monkeypatch.setattr(sys, "path", [*sys.path])
    return module


def serve(monkeypatch: pytest.MonkeyPatch, script: ModuleType, cut: int = 0) -> None:
    """Answers downloads, without their last `cut` bytes."""

    def urlopen(location: str, timeout: float) -> io.BytesIO:
        name, version = location.split(":")
        content = LAYERS[name, int(version)]
        return io.BytesIO(content[: len(content) - cut])

    monkeypatch.setattr(script.urllib.request, "urlopen", urlopen)


ARGV = [
    "run_layers.py",
    *("--JOB_NAME", "job", "--module", "layered_job", "--event", "e"),
    *("--core_layer", f"{ARN}:core:7", "--validation_layer", f"{ARN}:validation:3"),
]


def test_the_module_of_the_core_layer_runs_with_the_libraries_of_the_other(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, script)
    monkeypatch.setattr(sys, "argv", ARGV)
    monkeypatch.setattr(sys, "ran", None, raising=False)
    script.main(ARGV)
    assert sys.ran == ("the validation layer", ARGV)  # type: ignore[attr-defined]


def test_a_layer_that_did_not_arrive_whole_is_not_run(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, script, cut=1)
    with pytest.raises(RuntimeError, match="did not arrive whole"):
        script.main(ARGV)
