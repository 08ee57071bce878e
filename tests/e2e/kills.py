"""Uploads through a cloud that is killed again and again, and what became of each that was acknowledged."""

import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from botocore.exceptions import BotoCoreError, ClientError

from cli.audit import audit_of
from cli.dead_letters import held, queues_of
from cli.stack import Stack
from local.cloud.process import Cloud
from ratchet.domain.audit import AuditReport
from tests.e2e.once import PATIENCE, Tiny, later, points, until

Version = tuple[str, str]  # an object's key and version id

_BROKEN_EVERY = 10  # of these uploads, one has a column too few
_UPLOADING_AT_ONCE = 8
_LETTERS = 1000
_AGAIN_SECONDS = 0.1
_LATEST_KILL_SECONDS = 1.0
_WHILE_MAKING_UP_SECONDS = 1.0


@dataclass
class Killed:
    """A cloud under fire: uploads go on while it is killed and started again."""

    cloud: Cloud
    tiny: Tiny
    acknowledged: list[Version] = field(default_factory=list)
    kills: int = 0

    @property
    def stack(self) -> Stack:
        return self.tiny.stack

    def upload(self, number: int, kills: int, seed: int) -> None:
        """Uploads so many files, and kills the cloud so often meanwhile; both are over when this returns."""
        draw = random.Random(seed)  # noqa: S311
        # The first uploads find the cloud whole, and the last kill finds uploads under way.
        when = sorted(draw.sample(range(1, number), kills))
        with ThreadPoolExecutor(_UPLOADING_AT_ONCE + 1) as pool:
            killing = pool.submit(self._kill, [(count, draw.random() * _LATEST_KILL_SECONDS) for count in when])
            list(pool.map(self._put, range(number)))
            killing.result()

    def outcomes(self) -> dict[Version, str]:
        """What became of each acknowledged upload: ACCEPTED, REJECTED, DEAD LETTER; nothing yet when it is missing."""
        uploads, verdicts = self.stack.ledger.objects(self.tiny.name), self.stack.ledger.verdicts(self.tiny.name)
        judged = {verdict.upload_id: verdict.outcome for verdict in verdicts}
        found: dict[Version, str] = {version: judged[upload] for version, upload in uploads.items() if upload in judged}
        if wanted := set(self.acknowledged) - found.keys():
            found |= dict.fromkeys(wanted & self._dead(), "DEAD LETTER")
        return {version: found[version] for version in self.acknowledged if version in found}

    def make_up(self, timeout: float = PATIENCE) -> None:
        """Waits until every acknowledged upload has an outcome, with the sweep as it will be in six minutes."""
        sweep, wanted = later(self.stack), set(self.acknowledged)

        def all_accounted_for() -> bool | None:
            if self.outcomes().keys() >= wanted:
                return True
            sweep(self.tiny.name)
            return None

        until(all_accounted_for, timeout, _WHILE_MAKING_UP_SECONDS)

    def audited(self, timeout: float = PATIENCE) -> AuditReport:
        """What `ratchet audit` says once nothing runs; what it finds meanwhile the sweep is to mend."""
        sweep = later(self.stack)
        deadline = time.monotonic() + timeout
        while True:
            if self._trains:
                self.tiny.settled()
            report = audit_of(self.stack, self.tiny.name)
            if not report.findings or time.monotonic() > deadline:
                return report
            sweep(self.tiny.name)

    def summary(self) -> str:
        """The outcomes, counted."""
        return json.dumps({"uploads": len(self.acknowledged), "kills": self.kills, **Counter(self.outcomes().values())})

    @property
    def _trains(self) -> bool:
        """Whether uploads start runs; without any the pipeline is behind for good."""
        definition = self.stack.pipeline(self.tiny.name).definition
        return definition is not None and definition.on_upload

    def _put(self, number: int) -> None:
        key = f"incoming/{self.tiny.name}/{number}.csv"
        while True:
            try:
                made = self.stack.s3.put_object(
                    Bucket=self.stack.outputs.data_bucket_name, Key=key, Body=content(number)
                )
            except (BotoCoreError, ClientError):  # nobody answered: whoever uploads tries again
                time.sleep(_AGAIN_SECONDS)
            else:
                self.acknowledged.append((key, made["VersionId"]))
                return

    def _kill(self, times: Sequence[tuple[int, float]]) -> None:
        for count, wait in times:
            while len(self.acknowledged) < count:
                time.sleep(0.01)
            time.sleep(wait)
            self.cloud.kill()
            self.cloud.up()
            self.kills += 1

    def _dead(self) -> set[Version]:
        """The object versions that dead letters are about."""
        with held(self.stack, queues_of(self.stack), _LETTERS) as hands:
            return {letter.upload for letter in hands.letters if letter.upload is not None}


def content(number: int) -> bytes:
    """A file of its own for each number."""
    rows = points(number)
    return rows.replace(b"id,x,y", b"id,x,z") if is_broken(number) else rows


def is_broken(number: int) -> bool:
    """Whether the file of that number cannot be accepted."""
    return number % _BROKEN_EVERY == 0


def seed_of(given: int | None) -> int:
    """The seed that was asked for, or one that will be asked for when this fails."""
    return random.SystemRandom().randrange(10**6) if given is None else given
