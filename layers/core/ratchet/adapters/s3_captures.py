"""What was asked and answered, kept in S3 as SageMaker's own data capture writes it.

Best effort, as SageMaker's is: a container writes its first request at once and then once a minute, so a container
that is reaped under load takes at most that minute with it, and a failure to write never fails a prediction.
"""

import json
import logging
import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ratchet.adapters.aws import CLIENT_CONFIG
from ratchet.adapters.clock import utc_now
from ratchet.domain.identity import CAPTURES

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

VARIANT = "AllTraffic"
_EVERY = timedelta(minutes=1)
_MOST_BYTES = 2_000_000  # of what waits to be written
_log = logging.getLogger(__name__)
# Nobody waits long for what is only kept.
_CONFIG = CLIENT_CONFIG.merge(Config(connect_timeout=1, read_timeout=3, retries={"total_max_attempts": 1}))


class S3Captures:
    """The Captures port: one object of JSON Lines an endpoint and minute, named as SageMaker names them."""

    def __init__(
        self,
        bucket: str,
        client: "S3Client | None" = None,
        clock: Callable[[], datetime] = utc_now,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._bucket, self._clock, self._chance = bucket, clock, chance
        self._s3: S3Client = client or boto3.client("s3", config=_CONFIG)
        self._waiting: dict[str, list[str]] = {}
        self._bytes = 0
        self._written: datetime | None = None

    def keep(
        self, endpoint_name: str, records: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]], percent: int
    ) -> None:
        if self._chance() * 100 >= percent:
            return
        now = self._clock()
        line = json.dumps(capture(records, answers, now))
        self._waiting.setdefault(endpoint_name, []).append(line)
        self._bytes += len(line)
        if self._written is None or now - self._written >= _EVERY or self._bytes >= _MOST_BYTES:
            self._write(now)

    def _write(self, now: datetime) -> None:
        waiting, self._waiting, self._bytes, self._written = self._waiting, {}, 0, now
        for endpoint_name, lines in waiting.items():
            name = f"{now:%Y/%m/%d/%H}/{now:%M-%S}-{now.microsecond // 1000:03d}-{uuid4()}.jsonl"
            key = f"{CAPTURES}/{endpoint_name}/{VARIANT}/{name}"
            try:
                self._s3.put_object(Bucket=self._bucket, Key=key, Body="".join(f"{line}\n" for line in lines).encode())
            except (ClientError, BotoCoreError) as error:
                _log.warning("%d captured requests of %s were not written: %s", len(lines), endpoint_name, error)


def capture(records: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]], now: datetime) -> dict[str, Any]:
    """One request and its answer, as SageMaker captures them."""
    return {
        "captureData": {
            "endpointInput": _captured(records, "INPUT"),
            "endpointOutput": _captured(answers, "OUTPUT"),
        },
        "eventMetadata": {"eventId": str(uuid4()), "inferenceTime": f"{now:%Y-%m-%dT%H:%M:%SZ}"},
        "eventVersion": "0",
    }


def _captured(data: Sequence[dict[str, Any]], mode: str) -> dict[str, str]:
    return {"observedContentType": "application/json", "mode": mode, "data": json.dumps(data), "encoding": "JSON"}
