"""A host in memory: S3 and alarms as dictionaries, events and log lines as lists."""

import io
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from local.host import Metric, Scope

PAGE = 2


@dataclass(frozen=True)
class Event:
    """An event as it was put on the bus."""

    detail_type: str
    resources: tuple[str, ...]
    detail: Mapping[str, Any]


class FakeHost:
    """What the engine asks of a cloud."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.events: list[Event] = []
        self.logs: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self.alarms: dict[str, str] = {}
        self.metrics: defaultdict[tuple[str, str, str], Counter[float]] = defaultdict(Counter)
        self.denied_roles: set[str] = set()
        self.unknown_roles: set[str] = set()
        self._lock = threading.Lock()

    def clear(self) -> None:
        """An empty cloud again."""
        with self._lock:
            for content in (
                self.objects,
                self.events,
                self.logs,
                self.alarms,
                self.metrics,
                self.denied_roles,
                self.unknown_roles,
            ):
                content.clear()

    def environment(self, scope: Scope, role_arn: str) -> Mapping[str, str]:
        """Credentials that name the role."""
        if role_arn in self.unknown_roles:
            raise error("AccessDenied", f"not authorized to perform sts:AssumeRole on {role_arn}", 403)
        return {"AWS_REGION": scope.region, "AWS_ACCESS_KEY_ID": role_arn, "AWS_SECRET_ACCESS_KEY": "secret"}

    def client(self, scope: Scope, service: str, role_arn: str) -> "FakeS3 | FakeCloudWatch":
        """S3 or CloudWatch, as the role."""
        if service == "cloudwatch":
            return FakeCloudWatch(self.alarms, denied=role_arn in self.denied_roles)
        assert service == "s3"
        return FakeS3(self.objects, denied=role_arn in self.denied_roles)

    def emit(
        self, scope: Scope, source: str, detail_type: str, resources: Sequence[str], detail: Mapping[str, Any]
    ) -> None:
        """Keeps the event."""
        assert source == "aws.sagemaker"
        with self._lock:
            self.events.append(Event(detail_type, tuple(resources), detail))

    def log(self, scope: Scope, group: str, stream: str, lines: Sequence[str]) -> None:
        """Keeps the lines."""
        with self._lock:
            self.logs[group, stream].extend(lines)

    def measure(self, scope: Scope, namespace: str, metrics: Sequence[Metric]) -> None:
        """Adds the values up."""
        assert namespace == "AWS/SageMaker"
        with self._lock:
            for metric in metrics:
                key = metric.name, metric.unit, ",".join(metric.dimensions.values())
                self.metrics[key].update(metric.values)

    def statuses(self, detail_type: str, field: str) -> list[str]:
        """What the events of a type said of a field, in order."""
        with self._lock:
            return [event.detail[field] for event in self.events if event.detail_type == detail_type]

    def lines(self, group: str, stream: str = "") -> list[str]:
        """All lines of the streams whose name begins so."""
        with self._lock:
            streams = [lines for (g, s), lines in self.logs.items() if g == group and s.startswith(stream)]
            return [line for lines in streams for line in lines]


class FakeS3:
    """The three calls that the engine makes."""

    def __init__(self, objects: dict[str, bytes], *, denied: bool) -> None:
        self._objects = objects
        self._denied = denied

    def get_paginator(self, operation: str) -> "FakeS3":
        """Pages of two keys, so that paging shows."""
        assert operation == "list_objects_v2"
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:  # noqa: N803
        """Pages of the keys below a prefix."""
        self._check("ListObjectsV2")
        start = f"{Bucket}/"
        keys = sorted(name[len(start) :] for name in self._objects if name.startswith(start + Prefix))
        for first in range(0, max(len(keys), 1), PAGE):
            found = [{"Key": key} for key in keys[first : first + PAGE]]
            yield {"Contents": found} if found else {}

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        """An object's body."""
        self._check("GetObject")
        if f"{Bucket}/{Key}" not in self._objects:
            raise error("NoSuchKey", "The specified key does not exist.", 404)
        return {"Body": io.BytesIO(self._objects[f"{Bucket}/{Key}"])}

    def put_object(self, *, Bucket: str, Key: str, Body: Any, **encryption: str) -> dict[str, Any]:  # noqa: N803
        """Stores bytes or a file's content."""
        self._check("PutObject")
        assert not encryption or encryption == {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/capture"}
        self._objects[f"{Bucket}/{Key}"] = Body if isinstance(Body, bytes) else Body.read()
        return {}

    def _check(self, operation: str) -> None:
        if self._denied:
            raise error("AccessDenied", "Access Denied", 403)


class FakeCloudWatch:
    """The states of alarms."""

    def __init__(self, alarms: dict[str, str], *, denied: bool) -> None:
        self._alarms = alarms
        self._denied = denied

    def describe_alarms(self, *, AlarmNames: list[str], AlarmTypes: list[str]) -> dict[str, Any]:  # noqa: N803
        """Those of the alarms that exist."""
        if self._denied:
            raise error("AccessDenied", "not authorized to perform cloudwatch:DescribeAlarms", 403)
        assert AlarmTypes == ["MetricAlarm", "CompositeAlarm"]
        found = [{"AlarmName": name, "StateValue": self._alarms[name]} for name in AlarmNames if name in self._alarms]
        return {"MetricAlarms": found}


def error(code: str, message: str, status: int) -> ClientError:
    """What a boto3 client raises."""
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "Operation",
    )


def until(condition: Callable[[], Any], timeout: float = 20) -> None:
    """Waits for a condition; fails when it does not come true."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)
