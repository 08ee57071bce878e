"""The jobs among their neighbours: validation's Parquet in, the judge's holdout and predictions out."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import get_args

import numpy as np
import pytest

from cli import samples
from cli.apply import Code
from cli.definition import read_definition
from ratchet.adapters.duckdb_validation import DuckDbValidator
from ratchet.adapters.memory_store import MemoryStore
from ratchet.domain import metrics as gate_metrics
from ratchet.domain.definition import CLASSIFICATION_METRICS, CompiledDefinition, Definition, Metric
from ratchet.domain.identity import canonical
from ratchet.domain.scores import HoldoutRow, holdout_rows, label, predictions
from tests.unit.jobs.harness import REPOSITORY, TRAINING_PYTHON, FolderS3, Row, Training, load_job

MACHINE = json.loads((REPOSITORY / "statemachine/retrain.asl.json").read_text())
TRAINING_JOB = MACHINE["States"]["Train Candidates"]["ItemProcessor"]["States"]["Train Candidate"]["Parameters"]
GLUE_PYTHON = REPOSITORY / ".envs/glue/bin/python"
ARTIFACTS = "s3://artifacts/out/"
# What each environment brings besides the standard library (requirements/training.in, requirements/glue.in).
BROUGHT = {"model": {"numpy", "pyarrow", "xgboost"}, "preprocess": {"boto3", "duckdb", "narwhals", "pyspark"}}

Uploads = Sequence[bytes]


class Pipeline:
    """A pipeline's jobs run one after the other on a folder, as a run's states run them."""

    def __init__(self, root: Path, definition: Definition, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.s3 = FolderS3(root / "s3")
        self.store = MemoryStore()
        self.compiled = CompiledDefinition(
            definition=definition,
            code=Code.pack().located("artifacts"),
            image_uri="image",
            holidays={"US": ("2016-11-24", "2016-12-25", "2016-12-26", "2017-01-01", "2017-01-02", "2017-01-16")},
        )
        self.preprocess = load_job("preprocess/preprocess.py")
        monkeypatch.setattr(self.preprocess, "s3", lambda: self.s3)
        monkeypatch.setattr(self.preprocess, "find_spec", lambda name: None)
        self.training = Training(root / "job", canonical(self.compiled), root / "s3/artifacts/out")

    def prepare(self, uploads: Uploads) -> Row:
        """Validates and preprocesses files; returns the summary."""
        manifest = [self._accept(number, content) for number, content in enumerate(uploads)]
        self.s3.put_object("artifacts", "snapshot.json", json.dumps({"uploads": manifest}).encode())
        self.s3.put_object("artifacts", "definition.json", json.dumps(canonical(self.compiled)).encode())
        arguments = {
            "--script_uri": self.compiled.code.preprocess_uri,
            "--snapshot": "s3://artifacts/snapshot.json",
            "--definition": "s3://artifacts/definition.json",
            "--output": ARTIFACTS,
        }
        self.preprocess.main([word for pair in arguments.items() for word in pair])
        for file in (self.root / "s3/artifacts/out").rglob("*"):
            if file.is_file():
                self.store.write(f"{ARTIFACTS}{file.relative_to(self.root / 's3/artifacts/out')}", file.read_bytes())
        summary: Row = self.store.read_json(f"{ARTIFACTS}summary.json")
        return summary

    def train(self) -> None:
        """Trains with the definition's hyperparameters, spelled as SageMaker passes them."""
        hyperparameters = self.compiled.definition.train.hyperparameters
        assert self.training.run(**{name: str(value) for name, value in hyperparameters.items()}) == 0, (
            self.training.log
        )

    def score(self) -> tuple[list[HoldoutRow], list[Row]]:
        """Scores the holdout as batch transform does, and reads both as the judge does."""
        rows = holdout_rows(self.store, f"{ARTIFACTS}holdout/")
        answers = self.training.predict([row.record for row in rows])
        lines = (
            json.dumps({"row": row.row, "SageMakerOutput": answer}) for row, answer in zip(rows, answers, strict=True)
        )
        self.store.write("s3://artifacts/scores/part-00000.jsonl.out", "\n".join(lines).encode())
        found = predictions(self.store, "s3://artifacts/scores/", [row.row for row in rows])
        return rows, [found[row.row] for row in rows]

    def _accept(self, number: int, content: bytes) -> Row:
        folder = self.root / f"upload-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "upload").write_bytes(content)
        judge, received = DuckDbValidator(threads=1), datetime(2026, 3, 1, tzinfo=UTC)
        judgement = judge(folder / "upload", self.compiled.definition.data, f"upload-{number}", received)
        assert judgement.finding is None, judgement.finding
        key = f"accepted/{number}.parquet"
        (folder / "accepted.parquet").rename(self.s3.path("data", key))
        return {"upload_id": f"upload-{number}", "accepted_uri": f"s3://data/{key}", "precedence": number}


Build = Callable[[Definition], Pipeline]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Pipelines by definition."""
    return lambda definition: Pipeline(tmp_path, definition, monkeypatch)


needs_training = pytest.mark.skipif(not TRAINING_PYTHON.exists(), reason="needs .envs/training: run `make setup`")


def forecast_accuracy(actual: Sequence[float], answers: Sequence[float]) -> float:
    errors = sum(abs(a - b) for a, b in zip(actual, answers, strict=True))
    return 1 - errors / sum(actual)


@needs_training
def test_traffic_passes_its_gate_with_february_and_not_before(build: Build) -> None:
    definition = read_definition(REPOSITORY / "pipelines/traffic")
    pipeline = build(definition)
    months = samples.traffic_months()
    early = [months[month] for month in ("2016-10", "2016-11", "2016-12", "2017-01")]
    assert traffic_score(pipeline, early)[0] < definition.gate.threshold

    candidate, naive = traffic_score(pipeline, [*early, months["2017-02"]])
    assert candidate >= definition.gate.threshold
    assert candidate > naive


def traffic_score(pipeline: Pipeline, uploads: Uploads) -> tuple[float, float]:
    """The candidate's and the seasonal naive's accuracy on the holdout."""
    summary = pipeline.prepare(uploads)
    pipeline.train()
    rows, answers = pipeline.score()
    assert len(rows) == summary["rows"]["holdout"]
    actual = [row.actual for row in rows]
    candidate = forecast_accuracy(actual, [answer["prediction"] for answer in answers])
    return candidate, forecast_accuracy(actual, [row.naive for row in rows])


@needs_training
def test_late_arrivals_passes_its_gate_by_a_definition_alone(build: Build) -> None:
    pipeline = build(read_definition(REPOSITORY / "pipelines/late-arrivals"))
    summary = pipeline.prepare([samples.late_arrivals_parts()["2013-01"]])
    assert summary["first"] is None
    pipeline.train()
    rows, answers = pipeline.score()
    actual = np.array([row.actual == "true" for row in rows], float)
    shares = np.array([[answer["probabilities"][name] for name in ("false", "true")] for answer in answers])
    auc = gate_metrics.score("auc", actual, gate_metrics.Answers(shares.argmax(axis=1).astype(float), shares))
    assert auc >= pipeline.compiled.definition.gate.threshold
    assert {row.naive for row in rows} == {"false"}


@needs_training
def test_departures_of_three_airports_pass_their_gate_by_a_definition_alone(build: Build) -> None:
    definition = read_definition(REPOSITORY / "pipelines/departures")
    pipeline = build(definition)
    summary = pipeline.prepare(list(samples.departures_months().values()))
    naive = summary["naive"]
    assert (naive["season"], naive["detected"], naive["series"]) == ("7d", True, ["origin"])
    pipeline.train()
    rows, answers = pipeline.score()
    actual = [row.actual for row in rows]
    candidate = forecast_accuracy(actual, [answer["prediction"] for answer in answers])
    seasonal = forecast_accuracy(actual, [row.naive for row in rows])
    assert candidate >= definition.gate.threshold
    assert candidate > seasonal


@needs_training
@pytest.mark.parametrize(
    ("kind", "values"),
    [("boolean", ["true", "false"]), ("integer", ["1", "2"]), ("number", ["1.0", "2.5"]), ("string", ["on time", "é"])],
)
def test_a_label_has_one_spelling_from_upload_to_prediction(build: Build, kind: str, values: list[str]) -> None:
    document = {
        "name": "labels",
        "data": {
            "target": "y",
            "task": "classification",
            "columns": {"x": {"type": "integer"}, "y": {"type": kind}},
        },
        "train": {"hyperparameters": {"num_round": 20}},
        "gate": {"metric": "accuracy", "threshold": 0.5, "holdout": 0.3},
    }
    pipeline = build(Definition.model_validate(document))
    lines = "".join(f"{n},{values[n // 50 % 2]}\n" for n in range(1000))
    pipeline.prepare([f"x,y\n{lines}".encode()])
    pipeline.train()
    rows, answers = pipeline.score()
    labels = {label(row.actual) for row in rows}
    assert len(labels) == 2
    assert all({label(name) for name in answer["probabilities"]} == labels for answer in answers)
    hits = [label(answer["prediction"]) == label(row.actual) for row, answer in zip(rows, answers, strict=True)]
    assert np.mean(hits) > 0.8


@needs_training
def test_the_log_holds_the_metric_the_state_machine_looks_for(build: Build) -> None:
    (metric,) = TRAINING_JOB["AlgorithmSpecification"]["MetricDefinitions"]
    pipeline = build(read_definition(REPOSITORY / "pipelines/traffic"))
    months = samples.traffic_months()
    pipeline.prepare([months["2016-11"], months["2016-12"]])
    pipeline.train()
    (found,) = re.findall(metric["Regex"], pipeline.training.log)
    assert 0 < float(found) < 1


@pytest.fixture
def training_metrics() -> ModuleType:
    """jobs/model/metrics.py: it needs nothing but numpy."""
    return load_job("model/metrics.py")


def test_training_knows_every_metric_of_the_gate(training_metrics: ModuleType) -> None:
    known = {*training_metrics.OF_NUMBERS, *training_metrics.OF_SHARES, *training_metrics.OF_LABEL}
    assert known == set(get_args(Metric))


@pytest.mark.parametrize("metric", sorted(set(get_args(Metric)) - CLASSIFICATION_METRICS))
def test_training_and_gate_agree_on_numbers(training_metrics: ModuleType, metric: Metric) -> None:
    random = np.random.default_rng(7)
    for actual in (random.normal(50, 20, 200), random.integers(0, 3, 50), np.zeros(5), np.full(5, 3.0)):
        values = actual.astype(np.float64)
        answers = values + random.normal(0, 5, len(values))
        gate = gate_metrics.score(metric, values, gate_metrics.Answers(answers))
        assert training_metrics.score(metric, values, answers) == pytest.approx(better_is_bigger(metric, gate))


@pytest.mark.parametrize("metric", sorted(CLASSIFICATION_METRICS))
@pytest.mark.parametrize("labels", [2, 4])
@pytest.mark.parametrize("positive", [None, 1])
def test_training_and_gate_agree_on_labels(
    training_metrics: ModuleType, metric: Metric, labels: int, positive: int | None
) -> None:
    random = np.random.default_rng(7)
    for occurring in (labels, labels - 1):
        actual = random.integers(0, occurring, 300).astype(float)
        shares = random.dirichlet(np.ones(labels), 300).round(1)  # with ties
        answers = gate_metrics.Answers(shares.argmax(axis=1).astype(float), shares)
        gate = gate_metrics.score(metric, actual, answers, positive)
        found = training_metrics.score(metric, actual, shares, positive)
        assert found == pytest.approx(better_is_bigger(metric, gate))


def better_is_bigger(metric: Metric, value: float) -> float:
    return -value if metric in gate_metrics.SMALLER_IS_BETTER else value


@pytest.mark.parametrize("job", sorted(BROUGHT))
def test_a_job_imports_only_what_its_container_has(job: str) -> None:
    files = sorted((REPOSITORY / "jobs" / job).glob("*.py"))
    allowed = BROUGHT[job] | set(sys.stdlib_module_names) | {file.stem for file in files}
    python = (3, 10) if job == "model" else (3, 11)
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(), feature_version=python)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names} <= allowed, f"{file.name}, line {getattr(node, 'lineno', 0)}"


@pytest.mark.skipif(not GLUE_PYTHON.exists(), reason="needs .envs/glue: run `make setup`")
def test_the_script_runs_on_glue_with_the_packed_wheel_alone(tmp_path: Path) -> None:
    code = Code.pack()
    (tmp_path / code.wheel.filename).write_bytes(code.wheel.content)
    (tmp_path / "preprocess.py").write_bytes(code.preprocess.content)
    command = [str(GLUE_PYTHON), str(tmp_path / "preprocess.py"), "--help"]
    without = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert "No module named 'narwhals'" in without.stderr
    path = {"PYTHONPATH": str(tmp_path / code.wheel.filename)}
    with_wheel = subprocess.run(command, env=path, capture_output=True, text=True, check=False)
    assert with_wheel.returncode == 0, with_wheel.stderr
    assert "--snapshot" in with_wheel.stdout
