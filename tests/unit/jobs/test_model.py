"""Training and serving as SageMaker runs them: processes on the container's own versions."""

import json
import re
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.unit.jobs.harness import TRAINING_PYTHON, Row, Training, write_parquet

pytestmark = pytest.mark.skipif(not TRAINING_PYTHON.exists(), reason="needs .envs/training: run `make setup`")

START = datetime.fromisoformat("2026-03-01")
SKIES = ["Clear", "Clouds", "Rain", None]
FAST = {"num_round": "30", "eta": "0.3"}

Make = Callable[..., Training]


def records(count: int) -> list[Row]:
    """Records of every type of column, with nulls, whose targets follow from them."""
    made = []
    for n in range(count):
        at, sky = START + timedelta(hours=n), SKIES[n % 4]
        value = at.hour * 10 + (50 if sky == "Rain" else 0) + n % 7
        made.append(
            {
                "at": at,
                "sky": sky,
                "temp": None if n % 11 == 0 else n / 7,
                "count": n % 13,
                "open": [True, False, None][n % 3],
                "value": float(value),
                "late": value > 120,
                "size": ["small", "middle", "large"][value // 100],
            }
        )
    return made


def training_of(root: Path, target: str, metric: str, rows: list[Row], exclude: tuple[str, ...] = ()) -> Training:
    """A training job over preprocessed rows of which only one target stays."""
    types = {"at": "timestamp", "sky": "string", "temp": "number", "count": "integer", "open": "boolean"}
    types[target] = {"value": "number", "late": "boolean", "size": "string"}[target]
    cut = len(rows) * 4 // 5
    write_parquet(root / "data/train/part-00000.parquet", rows[:cut], types)
    write_parquet(root / "data/validation/part-00000.parquet", rows[cut:], types)
    data = {
        "target": target,
        "task": "regression" if target == "value" else "classification",
        "timestamp": "at",
        "columns": {name: {"type": kind} for name, kind in types.items()},
    }
    features = {"calendar": ["hour", "weekday", "holiday:US"], "exclude": exclude}
    definition = {"data": data, "features": features, "gate": {"metric": metric, "positive": None}}
    return Training(root / "job", {"definition": definition, "holidays": {"US": ["2026-03-05"]}}, root / "data")


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Training jobs that have not run."""
    return partial(training_of, tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A regression that has been trained."""
    training = training_of(tmp_path_factory.mktemp("trained"), "value", "forecast_accuracy", records(1000))
    assert training.run(**FAST) == 0, training.log
    return training


def sent(row: Row, target: str) -> Row:
    """A row as a caller sends it: without its targets, times as text."""
    record = {name: value for name, value in row.items() if name not in ("value", "late", "size")}
    return {**record, "at": row["at"].isoformat()}


def score(log: str) -> float:
    match = re.search(r"validation_score=([-0-9.e]+)", log)
    assert match, log
    return float(match[1])


def test_a_regression_is_learned_and_served(trained: Training) -> None:
    rows = records(1000)
    assert score(trained.log) > 0.95
    predictions = [answer["prediction"] for answer in trained.predict([sent(row, "value") for row in rows])]
    errors = [abs(row["value"] - answer) for row, answer in zip(rows, predictions, strict=True)]
    assert sum(errors) / sum(row["value"] for row in rows) < 0.05


def test_the_model_holds_what_serving_needs_and_nothing_pickled(trained: Training) -> None:
    files = sorted(str(file.relative_to(trained.model)) for file in trained.model.rglob("*") if file.is_file())
    assert files == ["code/features.py", "code/inference.py", "features.json", "model.ubj"]
    importance = json.loads((trained.root / "output/data/feature_importance.json").read_text())
    assert next(iter(importance)) == "at:hour"
    assert set(importance) == {"at:hour", "at:weekday", "at:holiday:US", "sky", "temp", "count", "open"}


def test_training_twice_gives_the_same_bytes(make: Make) -> None:
    training = make("value", "mae", records(400))
    assert training.run(**FAST, subsample="0.7", nthread="1") == 0, training.log
    first = (training.model / "model.ubj").read_bytes(), score(training.log)
    assert training.run(**FAST, subsample="0.7", nthread="2") == 0, training.log
    assert ((training.model / "model.ubj").read_bytes(), score(training.log)) == first


SKEW = """
import json, sys
from functools import partial
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/../../jobs/model"]
import train
from features import Features
features, data = Features.load(Path(sys.argv[2])), json.loads(sys.argv[4])
rows = train.read(sys.argv[3])
records = [{**row, "at": row["at"].isoformat()} for row in rows.to_pylist()]
print(train.encode(features, rows, data).matrix.tobytes() == features.from_records(records).tobytes(), len(records))
"""


def test_serving_computes_what_training_computed_on_every_row(trained: Training) -> None:
    data = json.dumps(trained.definition["definition"]["data"])
    jobs = Path(__file__).parents[3] / "jobs/model"
    command = [str(TRAINING_PYTHON), "-c", SKEW, str(jobs), str(trained.model), str(trained.data / "train"), data]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "800"]


def test_two_labels_give_probabilities(make: Make) -> None:
    rows = records(600)
    training = make("late", "auc", rows)
    assert training.run(**FAST) == 0, training.log
    assert score(training.log) > 0.95
    answers = training.predict([sent(row, "late") for row in rows])
    assert set(answers[0]["probabilities"]) == {"false", "true"}
    assert (
        sum(answer["prediction"] == str(row["late"]).lower() for row, answer in zip(rows, answers, strict=True)) > 570
    )
    assert all(abs(sum(answer["probabilities"].values()) - 1) < 1e-6 for answer in answers)


@pytest.mark.parametrize("metric", ["accuracy", "f1", "auc"])
def test_three_labels(make: Make, metric: str) -> None:
    rows = records(600)
    training = make("size", metric, rows)
    assert training.run(**FAST) == 0, training.log
    assert score(training.log) > 0.9
    answers = training.predict([sent(row, "size") for row in rows])
    assert set(answers[0]["probabilities"]) == {"small", "middle", "large"}
    assert sum(answer["prediction"] == row["size"] for row, answer in zip(rows, answers, strict=True)) > 560


def test_an_error_metric_is_negated(make: Make) -> None:
    training = make("value", "rmse", records(300))
    assert training.run(**FAST) == 0, training.log
    assert -50 < score(training.log) < 0


def test_hidden_columns_do_not_reach_the_model(make: Make) -> None:
    rows = records(300)
    training = make("value", "mae", rows, exclude=("sky", "at"))
    assert training.run(**FAST, max_bin="64") == 0, training.log
    record = sent(rows[0], "value")
    assert training.predict([record]) == training.predict([{**record, "sky": "Rain", "at": None}])


def test_a_record_may_come_alone_or_in_a_list_or_in_lines(trained: Training) -> None:
    one, two = (json.dumps(sent(row, "value")) for row in records(2))
    js, lines = "application/json", "application/jsonlines"
    answers = trained.serve(
        (one, js, js),
        (f"[{one}, {two}]", js, "*/*"),
        (f"{one}\n{two}\n", lines, lines),
        (one, "application/json; charset=utf-8", lines),
        ("[]", js, js),
        ("{}", js, js),
    )
    assert [kind for kind, _ in answers] == ["answer"] * 6
    single, listed, lined, one_line, none, unknown = (text for _, text in answers)
    assert isinstance(json.loads(single)["prediction"], float)
    assert json.loads(listed)[0] == json.loads(single)
    assert [json.loads(line) for line in lined.splitlines()] == json.loads(listed)
    assert json.loads(one_line) == json.loads(single)
    assert none == "[]"
    assert json.loads(unknown)["prediction"] > 0


def test_only_a_line_feed_ends_a_record(trained: Training) -> None:
    lines = "application/jsonlines"
    ((kind, text),) = trained.serve(('{"note": "one\u2028line\x85"}\r\n{}\n', lines, lines))
    assert (kind, len(text.splitlines())) == ("answer", 2)


def test_a_malformed_request_is_told_where(trained: Training) -> None:
    js, lines = "application/json", "application/jsonlines"
    answers = trained.serve(
        ("{", js, js),
        ('{"temp": 1}\nnonsense\n', lines, lines),
        ("[{}, 5]", js, js),
        ('{"temp": "warm"}', js, js),
        ("a,b", "text/csv", js),
        ("{}", js, "text/csv"),
    )
    expected = [
        "the body is not JSON",
        "line 2 is not JSON",
        "item 2 is not a record",
        "column temp must hold a number or null",
        "content type text/csv is not supported",
        "cannot answer as text/csv",
    ]
    for (kind, text), start in zip(answers, expected, strict=True):
        assert (kind, text[: len(start)]) == ("error", start)


def constant(rows: list[Row], name: str, value: Any) -> list[Row]:
    return [{**row, name: value} for row in rows]


@pytest.mark.parametrize(
    ("target", "metric", "rows", "message"),
    [
        ("value", "mae", records(12), "12 rows are too few to train on; upload data until there are 20"),
        ("value", "mae", constant(records(50), "value", 7.0), "the target value is 7.0 in all 50 rows"),
        ("late", "auc", constant(records(50), "late", True), "the target late is true in all 50 rows"),
    ],
)
def test_hopeless_data_fails_with_its_reason(
    make: Make, target: str, metric: str, rows: list[Row], message: str
) -> None:
    training = make(target, metric, rows)
    assert training.run(**FAST) != 0
    assert training.failure.startswith(f"TrainingError: {message}")
    assert "validation_score" not in training.log


def test_a_hyperparameter_xgboost_refuses_reaches_the_failure_file(make: Make) -> None:
    training = make("value", "mae", records(100))
    assert training.run(objective="reg:nonsense") != 0
    assert "reg:nonsense" in training.failure
