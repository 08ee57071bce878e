"""The engine's records: one dictionary per resource in the shape its Describe call answers."""

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from local.host import Scope
from local.sagemaker.errors import SageMakerError

Record = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A type of resource: its word in ARNs, its word in field names, and AWS's two complaints about names."""

    resource: str
    noun: str
    missing: str
    taken: str
    taken_code: str = "ValidationException"

    @property
    def name_field(self) -> str:
        """`TrainingJobName`."""
        return f"{self.noun}Name"

    @property
    def arn_field(self) -> str:
        """`TrainingJobArn`."""
        return f"{self.noun}Arn"

    def arn(self, scope: Scope, name: str) -> str:
        """The ARN, which SageMaker writes in lower case whatever the name's case."""
        return scope.arn("sagemaker", f"{self.resource}/{name.lower()}")


TRAINING_JOB = Kind(
    "training-job",
    "TrainingJob",
    "Requested resource not found.",
    "Training job names must be unique within an AWS account and region, "
    "and a training job with this name already exists ({arn})",
    "ResourceInUse",
)
TRANSFORM_JOB = Kind(
    "transform-job",
    "TransformJob",
    "Could not find requested job with name: {name}",
    "Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})",
    "ResourceInUse",
)
MODEL = Kind("model", "Model", 'Could not find model "{arn}".', 'Cannot create already existing model "{arn}".')
ENDPOINT_CONFIG = Kind(
    "endpoint-config",
    "EndpointConfig",
    'Could not find endpoint configuration "{arn}".',
    'Cannot create already existing endpoint configuration "{arn}".',
)
ENDPOINT = Kind(
    "endpoint", "Endpoint", 'Could not find endpoint "{arn}".', 'Cannot create already existing endpoint "{arn}".'
)
MODEL_PACKAGE_GROUP = Kind(
    "model-package-group",
    "ModelPackageGroup",
    "ModelPackageGroup {arn} does not exist.",
    "Model Package Group already exists: {arn}",
)
MODEL_PACKAGE = Kind(
    "model-package", "ModelPackage", "ModelPackage {arn} does not exist.", "Model Package already exists: {arn}"
)
KINDS = (TRAINING_JOB, TRANSFORM_JOB, MODEL, ENDPOINT_CONFIG, ENDPOINT, MODEL_PACKAGE_GROUP, MODEL_PACKAGE)


class Store:
    """Records by scope, kind and name; every reader gets a copy, every change wakes those who wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._records: dict[tuple[Scope, Kind], dict[str, Record]] = {}
        self._tags: dict[str, dict[str, str]] = {}
        self._versions: dict[str, int] = {}

    @contextmanager
    def locked(self) -> Iterator[threading.Condition]:
        """Holds the store still for a check and a change that belong together."""
        with self._changed:
            yield self._changed

    def add(self, scope: Scope, kind: Kind, name: str, record: Record, tags: list[dict[str, str]] | None = None) -> str:
        """Stores a new record under its name and answers its ARN; names differ by more than case."""
        arn = kind.arn(scope, name)
        with self._changed:
            records = self._records.setdefault((scope, kind), {})
            if name.lower() in records:
                raise SageMakerError(kind.taken_code, kind.taken.format(arn=arn, name=name))
            records[name.lower()] = {kind.arn_field: arn, **record}
            if tags:
                self._tags[arn] = {tag["Key"]: tag["Value"] for tag in tags}
        return arn

    def get(self, scope: Scope, kind: Kind, name: str) -> Record:
        """A copy of the record; raises AWS's words when there is none."""
        with self._changed:
            return copy.deepcopy(self._live(scope, kind, name))

    def value(self, scope: Scope, kind: Kind, name: str, field: str) -> Any:
        """One plain field of a record, without copying the rest."""
        with self._changed:
            return self._live(scope, kind, name)[field]

    def find(self, scope: Scope, kind: Kind, name: str) -> Record | None:
        """A copy of the record, or nothing."""
        with self._changed:
            return copy.deepcopy(self._records.get((scope, kind), {}).get(name.lower()))

    def update(self, scope: Scope, kind: Kind, name: str, *, drop: tuple[str, ...] = (), **fields: Any) -> Record:
        """Changes fields of a record and answers a copy of the whole."""
        with self._changed:
            # Another dictionary, for `dump` gives the present one away.
            record = {**self._live(scope, kind, name), **fields}
            for field in drop:
                record.pop(field, None)
            self._records[scope, kind][name.lower()] = record
            self._changed.notify_all()
            return copy.deepcopy(record)

    def remove(self, scope: Scope, kind: Kind, name: str) -> Record:
        """Takes a record and its tags out of the store."""
        with self._changed:
            record = self._live(scope, kind, name)
            del self._records[scope, kind][name.lower()]
            self._tags.pop(record[kind.arn_field], None)
            self._changed.notify_all()
            return record

    def all(self, scope: Scope, kind: Kind) -> list[Record]:
        """Copies of all records of a kind."""
        with self._changed:
            return copy.deepcopy(list(self._records.get((scope, kind), {}).values()))

    def everywhere(self, kind: Kind) -> list[tuple[Scope, Record]]:
        """Copies of all records of a kind in all accounts and regions."""
        with self._changed:
            return [
                (scope, record)
                for scope, stored in list(self._records)
                if stored is kind
                for record in self.all(scope, kind)
            ]

    def has_arn(self, arn: str) -> bool:
        """Whether any resource has this ARN."""
        with self._changed:
            return any(
                record[kind.arn_field] == arn
                for (_, kind), records in self._records.items()
                for record in records.values()
            )

    def tags(self, arn: str) -> dict[str, str]:
        """A resource's tags."""
        with self._changed:
            return dict(self._tags.get(arn, {}))

    def set_tags(self, arn: str, tags: dict[str, str]) -> None:
        """Replaces a resource's tags."""
        with self._changed:
            self._tags[arn] = tags

    def next_version(self, arn: str) -> int:
        """The next number of a group's versions; a deleted version's number is not used again."""
        with self._changed:
            self._versions[arn] = self._versions.get(arn, 0) + 1
            return self._versions[arn]

    def dump(self) -> dict[str, Any]:
        """Everything, as JSON can hold it, to be read only: a copy of every record each second took half of a core."""
        with self._changed:
            rows = [
                {"account": scope.account, "region": scope.region, "kind": kind.resource, "records": dict(records)}
                for (scope, kind), records in self._records.items()
            ]
            return {"records": rows, "tags": dict(self._tags), "versions": dict(self._versions)}

    def load(self, state: dict[str, Any]) -> None:
        """Replaces everything by what `dump` gave."""
        kinds = {kind.resource: kind for kind in KINDS}
        state = copy.deepcopy(state)
        with self._changed:
            self._records = {
                (Scope(row["account"], row["region"]), kinds[row["kind"]]): row["records"] for row in state["records"]
            }
            self._tags, self._versions = state["tags"], state["versions"]
            self._changed.notify_all()

    def clear(self) -> None:
        """Forgets everything."""
        self.load({"records": [], "tags": {}, "versions": {}})

    def _live(self, scope: Scope, kind: Kind, name: str) -> Record:
        record = self._records.get((scope, kind), {}).get(name.lower())
        if record is None:
            raise SageMakerError("ValidationException", kind.missing.format(arn=kind.arn(scope, name), name=name))
        return record
