"""Deployments under constant load: a good candidate takes over, and each kind of bad one is kept away by its guard."""

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from cli.apply import Code, apply_definition
from cli.definition import read_definition
from cli.listen import Listener
from cli.stack import Stack
from local.cloud.settings import REPOSITORY
from ratchet.contracts.run import RunOutcome
from ratchet.domain.ledger import RunRecord
from tests.e2e.conftest import QUICK, Pipeline

RECORD = b'{"datetime": "2017-02-03T08:00:00", "clouds_all": 40, "rain_1h": 0, "snow_1h": 0, "temp": 271.4}'
EVERY = 0.05  # 20 requests a second
CANARY = (
    "deploy.mode=instance",
    "deploy.instances=2",
    "deploy.strategy=canary",
    "deploy.percent=50",
    "deploy.bake=10m",
    "retrain.retry_after=[]",
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
    """Asks at a constant rate, whatever the answers take, and keeps which model answered when."""

    stack: Stack
    endpoint: str
    failed: list[str] = field(default_factory=list)
    answered: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._ask, args=(place,), daemon=True) for place in range(4)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, place: int) -> None:
        runtime = self.stack.session.client("sagemaker-runtime")
        due = time.monotonic() + place * EVERY
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += EVERY * len(self._threads)
            try:
                runtime.invoke_endpoint(EndpointName=self.endpoint, ContentType="application/json", Body=RECORD)
                self.answered += 1
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


@pytest.fixture(scope="module")
def guarded(new_pipeline: Callable[[str], Pipeline], people: Listener) -> Pipeline:
    """A champion on two instances: trained on little, so that the next one is better."""
    pipeline = new_pipeline("guarded")
    apply(pipeline, *CANARY, "train.hyperparameters.num_round=3")
    pipeline.upload_months("2016-10", "2016-11", "2016-12")
    run = pipeline.last()
    assert run.outcome is RunOutcome.DEPLOYED, run.finding
    return pipeline


@pytest.fixture(scope="module")
def faulted(new_pipeline: Callable[[str], Pipeline], people: Listener) -> Pipeline:
    """Another such champion: none of its candidates lives, so each of them is better than it."""
    pipeline = new_pipeline("faulted")
    apply(pipeline, *CANARY, "train.hyperparameters.num_round=3")
    pipeline.upload_months("2016-10", "2016-11", "2016-12")
    run = pipeline.last()
    assert run.outcome is RunOutcome.DEPLOYED, run.finding
    return pipeline


def changed(pipeline: Pipeline) -> RunRecord:
    """The run that the definition's change started, once it has ended."""
    return pipeline.last()


def test_a_canary_to_a_better_model_fails_no_request(guarded: Pipeline, stack: Stack) -> None:
    endpoint = stack.endpoint_name(guarded.name)
    with Load(stack, endpoint) as load:
        apply(guarded, *CANARY, "train.hyperparameters.num_round=40")
        run = changed(guarded)
    assert run.outcome is RunOutcome.DEPLOYED, run.finding
    assert load.answered > 20
    assert load.failed == []
    assert guarded.champion == run.run_id


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "settings", "error"),
    [
        ("raises", (), "EndpointRolledBackError"),
        ("slow", (), "EndpointRolledBackError"),
        ("dead", (), "EndpointRolledBackError"),
        ("other", ("deploy.verify=after",), "PredictionMismatchError"),
        ("other", ("deploy.verify=before",), "PredictionMismatchError"),
    ],
)
def test_a_bad_candidate_is_kept_away_and_the_champion_serves(
    faulted: Pipeline,
    stack: Stack,
    people: Listener,
    tmp_path: Path,
    fault: str,
    settings: tuple[str, ...],
    error: str,
) -> None:
    champion, endpoint = faulted.champion, stack.endpoint_name(faulted.name)
    with Load(stack, endpoint) as load:
        number = 20 + len(settings) + len(fault)
        rounds = f"train.hyperparameters.num_round={number}"
        apply(faulted, *CANARY, rounds, *settings, fault=fault, folder=tmp_path)
        run = changed(faulted)
    assert run.outcome is RunOutcome.FAILED, run.because
    assert run.error is not None
    assert run.error.error == error, run.because
    assert faulted.champion == champion
    assert people.hear(run.run_id, "failed")
    config = stack.session.client("sagemaker").describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    assert config == stack.ledger.run(faulted.name, champion or "").selection.model_name  # type: ignore[union-attr]
    assert load.answered > 20
    if fault in ("dead", "other"):
        assert load.failed == []
    assert (run.unverified_seconds is not None) is ("deploy.verify=after" in settings)
