"""SageMaker training: fits XGBoost to the preprocessed data and saves a model that inference.py serves."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xgboost
from features import MAX_CATEGORIES, Features, Matrix
from inference import MODEL_FILE, probabilities
from metrics import Answers, Floats, score

MIN_ROWS = 20
DEFAULTS = {"tree_method": "hist", "eta": 0.1, "max_depth": 6, "seed": 0}
ROWS_PER_THREAD = 50_000  # with fewer, threads wait for each other longer than they work
MAX_BIN = 256  # XGBoost's own default; data and booster must agree on it
NUM_ROUND = 1000  # at most; early stopping finds the number
EARLY_STOPPING_ROUNDS = 30
# What validation watches, round by round: the gate's metric, or the smooth measure that leads to it.
EVAL_METRICS = {"rmse": "rmse", "r2": "rmse", "mape": "mape", "auc": "auc"}


class TrainingError(Exception):
    """The data cannot be learned from; the message says what to change."""


@dataclass(frozen=True)
class Data:
    """Features and target of some rows."""

    matrix: Matrix
    target: Floats


@dataclass(frozen=True)
class Settings:
    """Booster parameters, the greatest number of rounds, and how many rounds without progress are enough."""

    parameters: Mapping[str, Any]
    rounds: int
    patience: int


def train(definition: Mapping[str, Any], hyperparameters: Mapping[str, Any], env: Mapping[str, str]) -> float:
    """Trains, saves the model, and returns its validation score: bigger is better."""
    data, metric = definition["definition"]["data"], definition["definition"]["gate"]["metric"]
    train_rows, validation_rows = read(env["SM_CHANNEL_TRAIN"]), read(env["SM_CHANNEL_VALIDATION"])
    all_rows = pa.concat_tables([train_rows, validation_rows])
    check(all_rows, data)
    features = describe(definition, all_rows)
    settings = choose(hyperparameters, features, metric, all_rows.num_rows)

    held = encode(features, validation_rows, data)
    rounds, answers = search(settings, features, encode(features, train_rows, data), held)
    both = dataset(settings, features, encode(features, all_rows, data))
    booster = xgboost.train(settings.parameters, both, rounds)

    save(booster, features, Path(env["SM_MODEL_DIR"]))
    gains = dict.fromkeys(features.names, 0.0) | booster.get_score(importance_type="total_gain")
    importance = Path(env["SM_OUTPUT_DATA_DIR"]) / "feature_importance.json"
    importance.write_text(json.dumps(dict(sorted(gains.items(), key=lambda item: -item[1])), indent=1))
    print(f"rows={all_rows.num_rows} features={len(features.names)} rounds={rounds}")
    return score(metric, held.target, answers, positive_of(definition, features))


def positive_of(definition: Mapping[str, Any], features: Features) -> int | None:
    """The place of the label that `gate.positive` names."""
    name = definition["definition"]["gate"]["positive"]
    if name is None:
        return None
    if name not in features.labels:
        raise TrainingError(
            f"gate.positive is {name!r}, and the rows hold {', '.join(features.labels)}; name one of these"
        )
    return features.labels.index(name)


def read(folder: str) -> pa.Table:
    """A channel's Parquet files, in the order of their names."""
    return pa.concat_tables(pq.read_table(file) for file in sorted(Path(folder).rglob("*.parquet")))


def check(rows: pa.Table, data: Mapping[str, Any]) -> None:
    """Refuses data that no model can be learned from."""
    if rows.num_rows < MIN_ROWS:
        raise TrainingError(f"{rows.num_rows} rows are too few to train on; upload data until there are {MIN_ROWS}")
    if len(values := pc.unique(rows[data["target"]])) < 2:
        only = texts(values)[0]
        raise TrainingError(
            f"the target {data['target']} is {only} in all {rows.num_rows} rows; upload rows where it differs"
        )


def describe(definition: Mapping[str, Any], rows: pa.Table) -> Features:
    """The features the definition asks for, with the categories and labels that the rows hold."""
    data, wanted = definition["definition"]["data"], definition["definition"]["features"]
    hidden = {data["target"], *wanted["exclude"]}
    columns = {name: rule["type"] for name, rule in data["columns"].items() if name not in hidden}
    if not columns:
        raise TrainingError("features.exclude leaves the model no column to see; exclude fewer")
    regression = data["task"] == "regression"
    return Features(
        columns=columns,
        calendar=wanted["calendar"],
        holidays=definition["holidays"],
        categories={name: commonest(rows[name]) for name, kind in columns.items() if kind == "string"},
        labels=[] if regression else sorted(pc.unique(texts(rows[data["target"]])).to_pylist()),
    )


def commonest(column: pa.ChunkedArray) -> list[str]:
    """The values that get a code, sorted."""
    counts = [(item["values"], item["counts"]) for item in pc.value_counts(column.drop_null()).to_pylist()]
    return sorted(value for value, _ in sorted(counts, key=lambda item: (-item[1], item[0]))[:MAX_CATEGORIES])


def texts(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Labels as text, spelled as the holdout spells them: `true`, `1`, `1.0`, `late`."""
    if pa.types.is_floating(column.type):  # Arrow would write 1.0 as 1
        return pa.chunked_array([[None if value is None else str(value) for value in column.to_pylist()]], pa.string())
    return column.cast(pa.string())


def encode(features: Features, rows: pa.Table, data: Mapping[str, Any]) -> Data:
    """The matrix of rows, and their target: numbers, or places among the labels."""
    target = rows[data["target"]]
    if features.labels:
        target = pc.index_in(texts(target), value_set=pa.array(features.labels))
    return Data(
        features.matrix({name: values(features, name, rows[name]) for name in features.columns}),
        target.cast(pa.float64()).to_numpy(),
    )


def values(features: Features, name: str, column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """A Parquet column as `Features.matrix` takes it."""
    kind = features.columns[name]
    if kind == "string":
        column = pc.index_in(column, value_set=pa.array(features.categories[name], pa.string()))
    wanted = pa.timestamp("us") if kind == "timestamp" else pa.float64()
    array: npt.NDArray[Any] = column.cast(wanted).to_numpy()
    return array


def choose(hyperparameters: Mapping[str, Any], features: Features, metric: str, rows: int) -> Settings:
    """The given hyperparameters over what the task, the gate's metric and the number of rows suggest."""
    given = {name: value for name, value in hyperparameters.items() if not name.startswith("sagemaker_")}
    most = int(given.pop("num_round", NUM_ROUND))
    patience = int(given.pop("early_stopping_rounds", EARLY_STOPPING_ROUNDS))
    if not features.labels:
        task: dict[str, Any] = {"objective": "reg:squarederror", "eval_metric": EVAL_METRICS.get(metric, "mae")}
    elif len(features.labels) == 2:
        task = {"objective": "binary:logistic", "eval_metric": EVAL_METRICS.get(metric, "logloss")}
    else:
        task = {"objective": "multi:softprob", "num_class": len(features.labels)}
        task["eval_metric"] = EVAL_METRICS.get(metric, "mlogloss")
    threads = min(os.cpu_count() or 1, 1 + rows // ROWS_PER_THREAD)
    return Settings({**DEFAULTS, "nthread": threads, **task, **given}, most, patience)


def search(settings: Settings, features: Features, training: Data, held: Data) -> tuple[int, Answers]:
    """The number of rounds after which validation stops improving, and the validation rows' answers then."""
    fitted = dataset(settings, features, training)
    watched = dataset(settings, features, held, fitted)
    booster = xgboost.train(
        settings.parameters,
        fitted,
        settings.rounds,
        evals=[(watched, "validation")],
        early_stopping_rounds=settings.patience,
        verbose_eval=False,
    )
    rounds = booster.best_iteration + 1
    answers = booster.predict(watched, iteration_range=(0, rounds))
    return rounds, probabilities(answers) if features.labels else answers


def dataset(
    settings: Settings, features: Features, data: Data, ref: xgboost.QuantileDMatrix | None = None
) -> xgboost.QuantileDMatrix:
    """The data as XGBoost's histogram algorithm takes it."""
    return xgboost.QuantileDMatrix(
        data.matrix,
        data.target,
        max_bin=int(settings.parameters.get("max_bin", MAX_BIN)),
        nthread=int(settings.parameters["nthread"]),
        feature_names=features.names,
        feature_types=features.types,
        enable_categorical=True,
        ref=ref,
    )


def save(booster: xgboost.Booster, features: Features, folder: Path) -> None:
    """The model folder: booster, features, and the code that serves them."""
    booster.save_model(folder / MODEL_FILE)
    features.save(folder)
    code = folder / "code"
    code.mkdir(exist_ok=True)
    for name in ("inference.py", "features.py"):
        shutil.copy(Path(__file__).with_name(name), code)


def main(env: Mapping[str, str]) -> None:
    """Runs under SageMaker's script-mode contract; a failure's reason also goes to the file SageMaker shows."""
    try:
        definition = json.loads(next(Path(env["SM_CHANNEL_DEFINITION"]).glob("*.json")).read_text())
        score = train(definition, json.loads(env["SM_HPS"]), env)
    except Exception as error:
        (Path(env["SM_OUTPUT_DIR"]) / "failure").write_text(f"{type(error).__name__}: {error}")
        raise
    print(f"validation_score={score}")


if __name__ == "__main__":
    main(os.environ)
