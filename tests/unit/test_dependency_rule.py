"""The direction of imports is the architecture: a convention is a check, or it is not a convention."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "layers/core"

# What each part may import of ours; the standard library and named packages besides.
ALLOWED = {
    "ratchet.contracts": ("ratchet.contracts",),
    "ratchet.domain": ("ratchet.contracts", "ratchet.domain"),
    "ratchet.adapters": ("ratchet.contracts", "ratchet.domain", "ratchet.adapters"),
    "ratchet.settings": ("ratchet.domain.errors",),
    "ratchet.validate_large": ("ratchet.adapters", "ratchet.contracts", "ratchet.domain"),  # a job's doorway
    "ratchet.observability": ("ratchet.domain.errors", "ratchet.settings"),
    "ratchet.http_door": (
        "ratchet.contracts.http",
        "ratchet.domain.errors",
        "ratchet.observability",
        "ratchet.settings",
    ),
}
FUNCTIONS_MAY = (
    "ratchet.adapters",
    "ratchet.contracts",
    "ratchet.domain",
    "ratchet.settings",
    "ratchet.observability",
    "ratchet.http_door",
)
OURS = ("ratchet", "cli", "local", "functions", "jobs", "tests", "benchmarks")
PACKAGES = {
    "ratchet.contracts": {"pydantic"},
    "ratchet.domain": {"pydantic", "pydantic_core", "numpy"},  # numpy in the gate only: see below
}
HANDLERS = sorted((ROOT / "functions").glob("*/app.py"))


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write the whole name, not a relative import"
            base = node.module or ""
            yield from (f"{base}.{alias.name}" for alias in node.names) if base in OURS else (base,)


def within(module: str, roots: tuple[str, ...]) -> bool:
    return any(module == root or module.startswith(f"{root}.") for root in roots)


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(CORE).with_suffix("").parts)


def core_files() -> list[Path]:
    return sorted(path for path in CORE.rglob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("path", core_files(), ids=module_of)
def test_the_core_imports_inwards_only(path: Path) -> None:
    part = next(name for name in ALLOWED if within(module_of(path), (name,)))
    wrong = [m for m in imports(path) if within(m, OURS) and not within(m, ALLOWED[part])]
    assert not wrong, f"{path.name} may import {ALLOWED[part]}: move what needs {wrong}"
    if part in PACKAGES:
        foreign = {m.partition(".")[0] for m in imports(path)} - {"ratchet"} - set(sys.stdlib_module_names)
        assert foreign <= PACKAGES[part], f"{path.name}: {foreign - PACKAGES[part]} belongs into an adapter"


@pytest.mark.parametrize("path", HANDLERS, ids=lambda path: path.parent.name)
def test_a_handler_is_a_doorway(path: Path) -> None:
    wrong = [m for m in imports(path) if not within(m, FUNCTIONS_MAY)]
    assert not wrong, f"{path.parent.name}: a doorway imports adapters, contracts and use cases, not {wrong}"
    tree = ast.parse(path.read_text())
    assert len(path.read_text().splitlines()) <= 50
    for node in ast.walk(tree):
        branches = ast.If | ast.For | ast.While | ast.Try | ast.IfExp | ast.Match
        assert not isinstance(node, branches), f"{path.parent.name}: line {node.lineno} decides; use cases decide"
        if isinstance(node, ast.FunctionDef):
            assert len(node.body) <= 15


def test_there_are_as_many_doorways_as_the_design_names() -> None:
    assert len(HANDLERS) == 18


def test_jobs_import_nothing_of_ours_and_nobody_imports_the_clients() -> None:
    for path in sorted((ROOT / "jobs").rglob("*.py")):
        siblings = {sibling.stem for sibling in path.parent.glob("*.py")}
        wrong = [m for m in imports(path) if within(m, OURS) and m not in siblings]
        assert not wrong, f"{path}: jobs run in other people's containers, which have no {wrong}"
    for path in [*core_files(), *HANDLERS]:
        assert not [m for m in imports(path) if within(m, ("cli", "local"))], path


def test_numpy_is_the_gates_alone() -> None:
    """It costs 0.1 s and 60 MB; only the judge's package brings it."""
    users = {path.stem for path in core_files() if "numpy" in {m.partition(".")[0] for m in imports(path)}}
    assert users == {"comparing", "evaluation", "gate", "judged", "metrics"}


def test_drawing_is_the_reports_alone() -> None:
    """Only write_report's package brings pygal and Jinja."""
    drawing = {"pygal", "jinja2", "markupsafe"}
    users = {module_of(path) for path in core_files() if drawing & {m.partition(".")[0] for m in imports(path)}}
    assert users == {"ratchet.adapters.report.charts", "ratchet.adapters.report.page"}
    readers = {
        path.parent.name for path in HANDLERS if any(within(m, ("ratchet.adapters.report",)) for m in imports(path))
    }
    assert readers == {"write_report"}


def test_only_settings_reads_the_environment() -> None:
    for path in [*core_files(), *HANDLERS]:
        if path.name != "settings.py":
            assert not re.search(r"\bos\.environ\b|\bgetenv\b", path.read_text()), f"{path}: read it in settings.py"


def test_the_check_sees_a_wrong_import(tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(
        "def f():\n    import boto3\n    from cli import main\n    from ratchet.adapters.clock import utc_now\n"
    )
    assert list(imports(path)) == ["boto3", "cli.main", "ratchet.adapters.clock"]
