"""Data capture: requests and answers of an endpoint as JSON Lines in S3, in SageMaker's layout."""

import base64
import json
import logging
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from local.sagemaker import s3
from local.sagemaker.context import Context
from local.sagemaker.fleet import Fleet
from local.sagemaker.hosting import Answer
from local.sagemaker.store import Record

# SageMaker delivers after a minute or two.
FLUSH_SECONDS = 60
_SHORTEST_FLUSH = 0.1
_MODES = {"Input": {"INPUT"}, "Output": {"OUTPUT"}, "InputAndOutput": {"INPUT", "OUTPUT"}}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """One request to an endpoint, headers in lower case."""

    body: bytes
    headers: Mapping[str, str]


class Capture:
    """Collects lines and writes them to S3 once in a minute of the engine's speed."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._lock = threading.Lock()
        self._lines: dict[tuple[Fleet, str], list[str]] = {}
        ctx.run(self._deliver)

    def wanted(self, fleet: Fleet) -> bool:
        """Whether the next request of the fleet is in the sample."""
        config = fleet.plan.capture
        if config is None or not config.get("EnableCapture", True):
            return False
        percentage: int = config["InitialSamplingPercentage"]
        return random.random() * 100 < percentage  # noqa: S311 - a sample, not a secret

    def keep(self, fleet: Fleet, variant: str, call: Call, answer: Answer) -> None:
        """Notes a request and its answer."""
        config = fleet.plan.capture
        if config is None:
            return
        line = json.dumps(_document(config, call, answer))
        with self._lock:
            self._lines.setdefault((fleet, variant), []).append(line)

    def _deliver(self) -> None:
        while not self._ctx.closed.wait(max(FLUSH_SECONDS / self._ctx.speed, _SHORTEST_FLUSH)):
            with self._lock:
                collected, self._lines = self._lines, {}
            for (fleet, variant), lines in collected.items():
                try:
                    self._write(fleet, variant, lines)
                except Exception:  # noqa: BLE001 - the endpoint serves all the same
                    _log.exception("%d captured requests of endpoint %s are lost", len(lines), fleet.endpoint)

    def _write(self, fleet: Fleet, variant: str, lines: list[str]) -> None:
        plan = fleet.plan
        if plan.capture is None:
            return
        role_arn = plan.variants[0].spec.role_arn
        client = self._ctx.host.client(fleet.scope, "s3", role_arn)
        uri = s3.join(plan.capture["DestinationS3Uri"], fleet.endpoint, variant, _file_name(datetime.now(UTC)))
        s3.upload(client, uri, "".join(f"{line}\n" for line in lines).encode(), plan.capture.get("KmsKeyId"))


def _file_name(now: datetime) -> str:
    return f"{now:%Y/%m/%d/%H/%M-%S}-{now.microsecond // 1000:03d}-{uuid4()}.jsonl"


def _document(config: Record, call: Call, answer: Answer) -> Record:
    modes = set[str]().union(*(_MODES[option["CaptureMode"]] for option in config["CaptureOptions"]))
    given = {"INPUT": (call.headers.get("content-type", ""), call.body), "OUTPUT": (answer.content_type, answer.body)}
    captured = {f"endpoint{mode.capitalize()}": _captured(config, mode, *given[mode]) for mode in sorted(modes)}
    metadata = {"eventId": str(uuid4()), "inferenceTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    if custom := call.headers.get("x-amzn-sagemaker-custom-attributes"):
        metadata["customAttributes"] = [custom]  # type: ignore[assignment]
    if inference := call.headers.get("x-amzn-sagemaker-inference-id"):
        metadata["inferenceId"] = inference
    return {"captureData": captured, "eventMetadata": metadata, "eventVersion": "0"}


def _captured(config: Record, mode: str, content_type: str, body: bytes) -> Record:
    """The text as it came where its type is listed as CSV or JSON, else in base 64."""
    listed = config.get("CaptureContentTypeHeader", {})
    plain = content_type.partition(";")[0].strip().lower()
    encoding = next(
        (
            name
            for name in ("CSV", "JSON")
            if plain in map(str.lower, listed.get(f"{name.capitalize()}ContentTypes", []))
        ),
        "BASE64",
    )
    data = base64.b64encode(body).decode() if encoding == "BASE64" else body.decode(errors="replace")
    return {"observedContentType": content_type, "mode": mode, "data": data, "encoding": encoding}
