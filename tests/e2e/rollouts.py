"""A champion on instances under constant load, and candidates whose serving code has a fault."""

import asyncio
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cli.apply import Code, apply_definition
from cli.definition import read_definition
from cli.stack import Stack
from cli.watch import await_idle
from local.cloud.settings import REPOSITORY
from ratchet.contracts.run import RunOutcome
from ratchet.domain.ledger import RunRecord
from tests.e2e.conftest import QUICK, Pipeline

RECORD = b'{"datetime": "2017-02-03T08:00:00", "clouds_all": 40, "rain_1h": 0, "snow_1h": 0, "temp": 271.4}'
EVERY = 0.05  # 20 requests a second
PATIENCE = 360
_CLIENTS = 16  # requests under way at once
INSTANCES = ("deploy.mode=instance", "retrain.retry_after=[]")
CANARY = (
    *INSTANCES,
    "deploy.instances=2",
    "deploy.strategy=canary",
    "deploy.percent=50",
    "deploy.bake=10m",
)
# What the serving container does besides the transform's: it differs on an endpoint only.
ON_AN_ENDPOINT = "\nimport os, random, time\nLIVE = os.environ.get('SAGEMAKER_BATCH') != 'true'\n_answer = predict_fn\n"
FAULTS = {
    "raises": "def predict_fn(batch, model):\n    if LIVE and random.random() < 0.2:\n        raise ValueError('row')\n"
    "    return _answer(batch, model)\n",
    "slow": "def predict_fn(batch, model):\n    if LIVE:\n        time.sleep(1.5)\n    return _answer(batch, model)\n",
    "dead": "_load = model_fn\ndef model_fn(folder):\n    if LIVE:\n        raise SystemExit('no start')\n"
    "    return _load(folder)\n",
    "other": "def predict_fn(batch, model):\n    found = _answer(batch, model)\n    if LIVE:\n"
    "        for item in found.items:\n            item['prediction'] += 1\n    return found\n",
}


@dataclass
class Load:
    """Asks at a constant rate, whatever the answers take, and keeps them in the order in which they were asked for."""

    stack: Stack
    endpoint: str
    failed: list[str] = field(default_factory=list)
    _answers: list[tuple[int, float]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        options = Config(max_pool_connections=_CLIENTS, retries={"total_max_attempts": 1})
        self._runtime = self.stack.session.client("sagemaker-runtime", config=options)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask_on()), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def answers(self) -> list[float]:
        """The predictions."""
        return [prediction for _, prediction in sorted(self._answers)]

    def share_of_the_new(self) -> float:
        """The newer model's share of the answers between its first one and the older model's last one."""
        answers = self.answers
        old, new = answers[0], answers[-1]
        assert set(answers) == {old, new}, "two models answer the same record, each always alike"
        both = answers[answers.index(new) : len(answers) - answers[::-1].index(old)]
        return both.count(new) / len(both)

    async def _ask_on(self) -> None:
        loop, number, asked = asyncio.get_running_loop(), 0, set[asyncio.Future[None]]()
        with ThreadPoolExecutor(_CLIENTS) as pool:
            due = loop.time()
            while not self._stop.is_set():
                asked.add(loop.run_in_executor(pool, self._ask, number))
                number, due = number + 1, due + EVERY
                await asyncio.sleep(max(0.0, due - loop.time()))
            await asyncio.gather(*asked)

    def _ask(self, number: int) -> None:
        try:
            answer = self._runtime.invoke_endpoint(
                EndpointName=self.endpoint, ContentType="application/json", Accept="application/json", Body=RECORD
            )
            self._answers.append((number, json.loads(answer["Body"].read())["prediction"]))
        except (ClientError, BotoCoreError) as error:
            self.failed.append(str(error))


def apply(pipeline: Pipeline, *settings: str, fault: str = "", folder: Path | None = None) -> None:
    """Applies the sample with a copy of the jobs, whose inference code may have a fault."""
    jobs = REPOSITORY / "jobs"
    if fault and folder is not None:
        shutil.copytree(jobs, folder / "jobs")
        jobs = folder / "jobs"
        inference = jobs / "model/inference.py"
        inference.write_text(inference.read_text() + ON_AN_ENDPOINT + FAULTS[fault])
    asked = [f"name={pipeline.name}", *QUICK, "gate.confidence=0.5", "gate.beat_naive=false", *settings]
    definition = read_definition(REPOSITORY / "pipelines/traffic", asked)
    apply_definition(pipeline.stack, definition, Code.pack(jobs))


def with_champion(pipeline: Pipeline, *settings: str) -> Pipeline:
    """The pipeline with a champion that was trained on little, so that the next model is better."""
    apply(pipeline, *settings, "train.hyperparameters.num_round=3")
    pipeline.upload_months("2016-10", "2016-11", "2016-12")
    run = ended(pipeline)
    assert run.outcome is RunOutcome.DEPLOYED, run.because
    return pipeline


def ended(pipeline: Pipeline) -> RunRecord:
    """The run under way, once it has ended: its waits are as long as its definition says."""
    await_idle(pipeline.stack, pipeline.name, PATIENCE)
    return pipeline.last()


def live_config(stack: Stack, endpoint: str) -> str:
    """The configuration that the endpoint serves with."""
    return stack.session.client("sagemaker").describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
