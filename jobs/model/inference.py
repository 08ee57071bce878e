"""SageMaker serving: JSON records in, predictions out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost
from features import Features

Answers = npt.NDArray[np.floating[Any]]

JSON = "application/json"
JSON_LINES = "application/jsonlines"
MODEL_FILE = "model.ubj"


class RequestError(ValueError):
    """The request cannot be read; the message says where."""


@dataclass(frozen=True)
class Model:
    """A booster, and the features it was trained on."""

    booster: xgboost.Booster
    features: Features


@dataclass(frozen=True)
class Batch:
    """Records or their predictions; a single one came, and goes, without a list around it."""

    items: Sequence[Mapping[str, Any]]
    single: bool = False


def model_fn(model_dir: str) -> Model:
    """Loads what train.py saved."""
    folder = Path(model_dir)
    # One thread: the container runs one worker for each processor already.
    booster = xgboost.Booster(params={"nthread": 1}, model_file=folder / MODEL_FILE)
    return Model(booster, Features.load(folder))


def input_fn(body: str | bytes, content_type: str) -> Batch:
    """Reads one record or a list of them (JSON), or one record a line (JSON Lines)."""
    if media_type(content_type) == JSON_LINES:
        # Not splitlines: text inside a record may hold other line separators, such as U+2028.
        lines = (body.decode() if isinstance(body, bytes) else body).split("\n")
        return Batch([record(line, f"line {number}") for number, line in enumerate(lines, 1) if line.strip()])
    if media_type(content_type) != JSON:
        raise RequestError(f"content type {content_type} is not supported; send {JSON} or {JSON_LINES}")
    document = parsed(body, "the body")
    if isinstance(document, list):
        return Batch([checked(item, f"item {number}") for number, item in enumerate(document, 1)])
    return Batch([checked(document, "the body")], single=True)


def predict_fn(batch: Batch, model: Model) -> Batch:
    """One prediction for each record, in their order."""
    if not batch.items:
        return batch
    answers = model.booster.inplace_predict(model.features.from_records(batch.items))
    return Batch(predictions(answers, model.features.labels), batch.single)


def output_fn(batch: Batch, accept: str) -> str:
    """Writes the predictions as JSON, or as one JSON object a line."""
    if media_type(accept) == JSON_LINES:
        return "".join(f"{json.dumps(item)}\n" for item in batch.items)
    if media_type(accept) not in (JSON, "*/*", ""):
        raise RequestError(f"cannot answer as {accept}; accept {JSON} or {JSON_LINES}")
    return json.dumps(batch.items[0] if batch.single else batch.items)


def predictions(answers: Answers, labels: Sequence[str]) -> list[dict[str, Any]]:
    """The booster's answers as people read them: a number, or the likeliest label with all probabilities."""
    if not labels:
        return [{"prediction": value} for value in answers.tolist()]
    shares = probabilities(answers)
    likeliest = shares.argmax(axis=1)
    return [
        {"prediction": labels[best], "probabilities": dict(zip(labels, row, strict=True))}
        for best, row in zip(likeliest, shares.tolist(), strict=True)
    ]


def probabilities(answers: Answers) -> Answers:
    """Rows by labels; a binary booster answers only the second label's."""
    return np.column_stack([1 - answers, answers]) if answers.ndim == 1 else answers


def media_type(header: str | None) -> str:
    """A content type without its parameters."""
    return (header or "").split(";")[0].strip().lower()


def record(line: str, where: str) -> Mapping[str, Any]:
    """One line of JSON Lines."""
    return checked(parsed(line, where), where)


def parsed(content: str | bytes, where: str) -> Any:
    """The JSON in the text."""
    try:
        return json.loads(content)
    except ValueError as error:
        raise RequestError(f"{where} is not JSON: {error}") from None


def checked(item: Any, where: str) -> Mapping[str, Any]:
    """The item if it is a record."""
    if not isinstance(item, dict):
        raise RequestError(f"{where} is not a record; send an object of column names and values")
    return item
