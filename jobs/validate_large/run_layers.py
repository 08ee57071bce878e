"""Glue job: runs a module of the core layer, with the libraries of the validation layer before Glue's own.

So a large upload is judged by the very package that judges small ones: the layer version of the same deployment.
"""

import base64
import hashlib
import io
import runpy
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path

import boto3


def main(argv: list[str]) -> None:
    """Fetches the layers and runs the module in this process, with the same arguments."""
    with tempfile.TemporaryDirectory() as folder:
        # First what Glue lacks or has otherwise; last the core layer, whose own copies are for another Python.
        sys.path.insert(0, fetch(argument(argv, "--validation_layer"), Path(folder) / "validation"))
        sys.path.append(fetch(argument(argv, "--core_layer"), Path(folder) / "core"))
        runpy.run_module(argument(argv, "--module"), run_name="__main__")


def fetch(layer_arn: str, into: Path) -> str:
    """Unpacks a layer version; returns the folder that belongs on the module path."""
    *_, name, version = layer_arn.split(":")
    content = boto3.client("lambda").get_layer_version(LayerName=name, VersionNumber=int(version))["Content"]
    with urllib.request.urlopen(content["Location"], timeout=300) as response:  # noqa: S310  Lambda's own link
        packed = response.read()
    if base64.b64encode(hashlib.sha256(packed).digest()).decode() != content["CodeSha256"]:
        raise RuntimeError(f"{layer_arn} did not arrive whole: its SHA-256 is not the one that Lambda states")
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        archive.extractall(into)
    return str(into / "python")


def argument(argv: list[str], name: str) -> str:
    """The value after an argument's name."""
    return argv[argv.index(name) + 1]


if __name__ == "__main__":
    main(sys.argv)
