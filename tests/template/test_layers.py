"""What functions find under /opt: two layers of one set of versions, and the descriptions of the services they call."""

import ast
import importlib.util
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.template.reading import ROOT, functions, resources, template

SDK = ROOT / "layers/sdk"
CLIENTS = {"client", "resource", "create_client"}
PIN = re.compile(r"^([a-z0-9.-]+)(?:\[\w+\])?==([\w.]+)", re.MULTILINE)


def asked(paths: Iterable[Path]) -> Iterator[str]:
    """Every service for which the code makes a client."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLIENTS:
                service = node.args[0] if node.args else None
                where = f"{path.name}, line {node.lineno}"
                assert isinstance(service, ast.Constant), f"{where}: write the service's name in the call"
                yield str(service.value)


def ours() -> list[Path]:
    """The code of functions."""
    return [*(ROOT / "functions").rglob("*.py"), *(ROOT / "layers/core").rglob("*.py")]


def package(name: str) -> list[Path]:
    """The code of an installed package."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return sorted(Path(spec.origin).parent.rglob("*.py"))


def pins(path: Path) -> dict[str, str]:
    """The exact versions that a file of requirements names."""
    return dict(PIN.findall(path.read_text()))


def test_the_sdk_describes_the_services_that_are_called_and_no_other() -> None:
    listed = (SDK / "services.txt").read_text().split()
    called = {*asked(ours()), *asked(package("aws_xray_sdk"))}
    assert listed == sorted(called), "layers/sdk/services.txt names other services than the code asks for"


def test_a_client_whose_service_the_check_cannot_read_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_text("boto3.client('s3')\nsession.create_client('xray', a=1)\n")
    assert list(asked([path])) == ["s3", "xray"]
    path.write_text("boto3.client(name)\n")
    with pytest.raises(AssertionError, match=r"code.py, line 1: write the service's name in the call"):
        list(asked([path]))


@pytest.mark.parametrize("function", sorted(functions()))
def test_a_function_has_the_sdk_and_the_core(function: str) -> None:
    assert functions()[function]["Layers"] == [{"Ref": "SdkLayer"}, {"Ref": "CoreLayer"}]


def test_the_sdk_is_for_whatever_the_core_is_for() -> None:
    layer = resources("AWS::Serverless::LayerVersion")["SdkLayer"]
    parameters = template()["Parameters"]
    assert layer["CompatibleRuntimes"] == parameters["Runtime"]["AllowedValues"]
    assert layer["CompatibleArchitectures"] == parameters["Architecture"]["AllowedValues"]


def test_every_place_has_one_version_of_the_sdk() -> None:
    sdk, core = pins(SDK / "requirements.txt"), pins(ROOT / "layers/core/requirements.txt")
    runtime, tools = (pins(ROOT / f"requirements/{place}.txt") for place in ("lambda", "tools"))
    assert {name: sdk[name] for name in sdk.keys() & core.keys()} == {"jmespath": core["jmespath"]}
    assert sdk == {name: runtime.get(name, tools[name]) for name in sdk}
    assert core == {name: tools[name] for name in core}
