"""The preprocess job on a folder instead of S3, and uploads made from plain rows."""

import importlib.util
import json
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb

from ratchet.domain.definition import Definition
from ratchet.domain.identity import canonical

REPOSITORY = Path(__file__).parents[3]
SQL_TYPES = {
    "timestamp": "TIMESTAMP",
    "number": "DOUBLE",
    "integer": "BIGINT",
    "string": "VARCHAR",
    "boolean": "BOOLEAN",
}

Row = dict[str, Any]


def load_job(path: str) -> ModuleType:
    """A job's module: jobs are scripts of other people's containers, not packages of ours."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, REPOSITORY / "jobs" / path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class FolderS3:
    """The four S3 calls the jobs make, on a folder; remembers the order of what was put."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.puts: list[str] = []

    def path(self, bucket: str, key: str) -> Path:
        path = self.root / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def download_file(self, bucket: str, key: str, file: str) -> None:
        shutil.copy(self.path(bucket, key), file)

    def upload_file(self, file: str, bucket: str, key: str) -> None:
        self.puts.append(key)
        shutil.copy(file, self.path(bucket, key))

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        return {"Body": self.path(Bucket, Key).open("rb")}

    def put_object(self, Bucket: str, Key: str, Body: bytes, **_: str) -> None:  # noqa: N803 - boto3's names
        self.puts.append(Key)
        self.path(Bucket, Key).write_bytes(Body)


class Preprocess:
    """A pipeline whose accepted uploads are made by a test, and what the job wrote for them."""

    def __init__(self, module: ModuleType, s3: FolderS3) -> None:
        self.module = module
        self.s3 = s3
        self.uploads: list[Row] = []
        self.definition: Row = {}

    def define(self, data: Row, gate: Row) -> None:
        """Sets the definition: types alone are enough for columns."""
        data = {**data, "columns": {name: {"type": kind} for name, kind in data["columns"].items()}}
        self.definition = canonical(Definition.model_validate({"name": "sample", "data": data, "gate": gate}))

    def upload(self, *rows: Row, precedence: int | None = None) -> None:
        """Accepts an upload of these rows; a row may state its `ratchet_bucket`."""
        name = f"upload-{len(self.uploads)}"
        uri = f"s3://data/accepted/sample/{name}.parquet"
        write_accepted(self.s3.path("data", uri.removeprefix("s3://data/")), name, rows, self.definition["data"])
        order = len(self.uploads) if precedence is None else precedence
        self.uploads.append({"upload_id": name, "accepted_uri": uri, "precedence": order})

    def run(self) -> Row:
        """Runs the job as Glue does; returns its summary."""
        self.s3.put_object("artifacts", "snapshot.json", json.dumps({"uploads": self.uploads}).encode())
        self.s3.put_object("artifacts", "definition.json", json.dumps({"definition": self.definition}).encode())
        self.s3.puts.clear()
        self.module.main(
            [
                *("--JOB_NAME", "preprocess", "--TempDir", "s3://glue/temporary/"),
                *("--snapshot", "s3://artifacts/snapshot.json", "--definition", "s3://artifacts/definition.json"),
                *("--output", "s3://artifacts/out/"),
            ]
        )
        return self.document("summary.json")

    def document(self, name: str) -> Row:
        document: Row = json.loads((self.s3.root / "artifacts/out" / name).read_text())
        return document

    def rows(self, part: str) -> list[Row]:
        """The rows of train or validation."""
        relation = duckdb.read_parquet(str(self.s3.root / f"artifacts/out/{part}/*.parquet"))
        return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]

    def holdout(self) -> list[Row]:
        return [json.loads(line) for line in self.holdout_text().splitlines()]

    def holdout_text(self) -> str:
        return (self.s3.root / "artifacts/out/holdout/part-00000.jsonl").read_text()


def write_accepted(path: Path, upload: str, rows: Sequence[Row], data: Row) -> None:
    """A Parquet file as validation writes it."""
    types = {name: rule["type"] for name, rule in data["columns"].items()}
    types |= {"ratchet_upload": "string", "ratchet_line": "integer", "ratchet_bucket": "integer"}
    lines = ({"ratchet_upload": upload, "ratchet_line": n, "ratchet_bucket": 0, **row} for n, row in enumerate(rows, 2))
    write_parquet(path, lines, types)


def write_parquet(path: Path, rows: Iterable[Row], types: dict[str, str]) -> None:
    """Rows as Parquet, the types those of the contract; a column absent from a row is null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        columns = ", ".join('"{}" {}'.format(name.replace('"', '""'), SQL_TYPES[kind]) for name, kind in types.items())
        connection.execute(f"CREATE TABLE written ({columns})")
        connection.executemany(
            f"INSERT INTO written VALUES ({', '.join('?' * len(types))})",  # noqa: S608 - question marks only
            [[row.get(name) for name in types] for row in rows],
        )
        connection.execute(f"COPY written TO '{path}' (FORMAT parquet)")


TRAINING_PYTHON = REPOSITORY / ".envs/training/bin/python"
SERVE = """
import json, sys
sys.path.insert(0, sys.argv[1] + "/code")
import inference
model = inference.model_fn(sys.argv[1])
for body, content_type, accept in json.load(sys.stdin):
    try:
        answer = inference.predict_fn(inference.input_fn(body, content_type), model)
        print(json.dumps(["answer", inference.output_fn(answer, accept)]))
    except ValueError as error:
        print(json.dumps(["error", str(error)]))
"""


class Training:
    """One training job's folders under SageMaker's contract, in the container's own versions."""

    def __init__(self, root: Path, definition: Row, data: Path) -> None:
        self.root = root
        self.definition = definition
        self.data = data  # holds the folders train and validation
        self.model = root / "model"
        self.log = ""

    def run(self, **hyperparameters: str) -> int:
        """Trains; returns the exit code."""
        for folder in ("model", "output/data", "definition"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "definition/definition.json").write_text(json.dumps(self.definition))
        env = {
            "SM_CHANNEL_TRAIN": self.data / "train",
            "SM_CHANNEL_VALIDATION": self.data / "validation",
            "SM_CHANNEL_DEFINITION": self.root / "definition",
            "SM_MODEL_DIR": self.model,
            "SM_OUTPUT_DIR": self.root / "output",
            "SM_OUTPUT_DATA_DIR": self.root / "output/data",
            "SM_HPS": json.dumps({"sagemaker_program": "train.py", **hyperparameters}),
        }
        command = [str(TRAINING_PYTHON), str(REPOSITORY / "jobs/model/train.py")]
        done = subprocess.run(
            command, env={name: str(value) for name, value in env.items()}, capture_output=True, text=True, check=False
        )
        self.log = done.stdout + done.stderr
        return done.returncode

    @property
    def failure(self) -> str:
        return (self.root / "output/failure").read_text()

    def serve(self, *requests: tuple[str, str, str]) -> list[tuple[str, str]]:
        """Each request (body, content type, accept), answered by the code inside the model: (kind, text)."""
        done = subprocess.run(
            [str(TRAINING_PYTHON), "-c", SERVE, str(self.model)],
            input=json.dumps(requests),
            capture_output=True,
            text=True,
            check=True,
        )
        return [(kind, text) for kind, text in map(json.loads, done.stdout.splitlines())]

    def predict(self, records: Sequence[Row]) -> list[Row]:
        """The predictions for records, sent as batch transform sends them."""
        body = "".join(f"{json.dumps(record)}\n" for record in records)
        [(kind, text)] = self.serve((body, "application/jsonlines", "application/jsonlines"))
        assert kind == "answer", text
        return [json.loads(line) for line in text.splitlines()]
