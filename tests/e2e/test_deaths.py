"""A run that is killed, in each of its states: its pipeline goes on, nothing is done twice, nobody is left at work."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from cli.predict import ask
from cli.stack import Stack
from local.cloud.chaos import Chaos, disturbed
from local.cloud.process import Cloud
from ratchet.contracts.run import RunOutcome
from ratchet.domain.ledger import RunRecord
from tests.e2e.once import HOLD, Tiny, await_state, holding, parameters, points, reconcile, repeating, until

STATES = (
    "Wait For Uploads To Settle",
    "Check Idempotency",
    "Is There New Work?",
    "Preprocess Data",
    "Train Candidates",
    "Select Candidate",
    "Create Model",
    "Score Holdout",
    "Evaluate Model",
    "Is Candidate Better?",
    "Register Model",
    "Deploy Endpoint",
    "Verify Endpoint",
    "Promote Champion",
    "Announce Deployment",
    "Model Deployed",
)
CLOSED = STATES[STATES.index("Announce Deployment") :]
LONG = ("Preprocess Data", "Train Candidates", "Score Holdout", "Deploy Endpoint")  # a Map's job begins with it
ROWS = 200
AT_ONCE = 6


@dataclass(frozen=True)
class Death:
    """Where a run is killed, whether the status event comes, and whether an older model serves meanwhile."""

    state: str
    within: bool  # or on the state's threshold
    event: bool
    champion: bool

    @property
    def pipeline(self) -> str:
        return f"dies-{DEATHS.index(self)}"

    @property
    def fence(self) -> int:
        """Of the run that is killed."""
        return 2 if self.champion else 1

    @property
    def run_id(self) -> str:
        return f"{self.pipeline}-g{self.fence}"

    @property
    def needs_sweep(self) -> bool:
        """Its close waits for a leftover job or for the endpoint, so the event alone does not bring it about."""
        if not self.event:
            return True
        return self.state in ("Verify Endpoint", "Promote Champion") or (
            self.within and self.state in ("Preprocess Data", "Deploy Endpoint")
        )

    def __str__(self) -> str:
        place = "within" if self.within else "before"
        event, champion = "event" if self.event else "no event", "champion" if self.champion else "no champion"
        return f"{place} {self.state}, {event}, {champion}"


DEATHS = [
    Death(state, within, event, champion)
    for (state, within), event, champion in product(
        [*product(STATES, [False]), *product(LONG, [True])], [True, False], [True, False]
    )
]
COMMON = (
    Death("Preprocess Data", within=True, event=True, champion=False),
    Death("Select Candidate", within=False, event=False, champion=False),
    Death("Score Holdout", within=True, event=True, champion=True),
    Death("Train Candidates", within=True, event=False, champion=True),
    Death("Announce Deployment", within=False, event=True, champion=False),
)
# Whose leftovers need grants that no other test needs.
GRANTS = (
    Death("Preprocess Data", within=True, event=False, champion=False),
    Death("Train Candidates", within=True, event=False, champion=False),
    Death("Verify Endpoint", within=False, event=True, champion=False),
)


def marks(death: Death) -> list[pytest.MarkDecorator]:
    """Which runs of the suite a death belongs to."""
    if death in COMMON:
        return []
    return [pytest.mark.slow, *([pytest.mark.permissions] if death in GRANTS else [])]


@pytest.fixture(scope="module")
def died(
    request: pytest.FixtureRequest, stack: Stack, cloud: Cloud, tmp_path_factory: pytest.TempPathFactory
) -> dict[Death, Future[None]]:
    """Every death that this session asks for, several pipelines at once: what became of each."""
    asked = parameters(request.session, test_an_execution_dies, Death)
    folder, futures = tmp_path_factory.mktemp("deaths"), dict[Death, Future[None]]()
    holds = {death.run_id: death.state for death in asked if not death.within}
    with holding(stack, holds) if holds else nullcontext():
        for event in (True, False):
            group = [death for death in asked if death.event is event]
            chaos = Chaos(abandons=True, dropped=() if event else ("aws.states",))
            with disturbed(cloud.settings, chaos), ThreadPoolExecutor(AT_ONCE) as pool:
                # A session makes clients for one thread only, so each death has its own.
                futures |= {death: pool.submit(die, death, Stack.of_cloud(cloud), folder) for death in group}
    return futures


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("death", [pytest.param(death, marks=marks(death)) for death in DEATHS], ids=str)
def test_an_execution_dies(died: dict[Death, Future[None]], death: Death) -> None:
    died[death].result()


def die(death: Death, stack: Stack, folder: Path) -> None:
    """One pipeline's whole story; what its runs went through is added to a failure."""
    tiny = Tiny(death.pipeline, stack, folder)
    try:
        killed_and_tried_again(tiny, death)
    except Exception as error:
        for run in stack.ledger.runs(tiny.name):
            error.add_note(f"{run.run_id} ({run.reason}): {run.outcome} after {tiny.times(run)}")
        raise


def killed_and_tried_again(tiny: Tiny, death: Death) -> None:
    """A run is killed; it closes, its work is tried again, and the outcome is as if nothing had happened."""
    tiny.apply("retrain.retry_after=[3s, 3s]")
    if death.champion:
        tiny.put([("wrong.csv", wrong())])
        assert tiny.await_end(1).outcome is RunOutcome.DEPLOYED
    with served_throughout(tiny) if death.champion else nullcontext():
        tiny.put([("right.csv", points(1, ROWS))])
        run = tiny.await_run(death.fence)
        await_state(tiny.stack, run.execution_arn, death.state if death.within else f"{HOLD} {death.state}")
        tiny.stack.executions.stop_execution(executionArn=run.execution_arn)
        dead = closed(tiny, death)
        assert dead.outcome is (RunOutcome.DEPLOYED if death.state in CLOSED else RunOutcome.FAILED), dead.finding
        if dead.outcome is RunOutcome.FAILED:
            # The champion's, unless the next run is as far already.
            assert tiny.serving_config != f"{tiny.stack.outputs.resource_prefix}-{death.run_id}"
        runs = until(lambda: found if (found := tiny.settled())[-1].outcome is RunOutcome.DEPLOYED else None)
    serves(tiny, runs[-1].fence)
    low, high = ask(tiny.stack, tiny.name, [{"x": 20}, {"x": 180}])
    assert low["prediction"] < high["prediction"]
    until(lambda: None if tiny.jobs().running else True)
    jobs, done = tiny.jobs(), death.fence
    assert Counter(jobs.preprocess)["SUCCEEDED"] == done, jobs
    assert Counter(jobs.training)["Completed"] == done, jobs


def wrong() -> bytes:
    """The rows of the right file with values that are off: a model of them passes a gate and is worse than the next."""
    header, *rows = points(1, ROWS).decode().splitlines()
    fields = [row.split(",") for row in rows]
    return "\n".join([header, *(f"{i},{x},{float(y) + 300:.4f}" for i, x, y in fields), ""]).encode()


def closed(tiny: Tiny, death: Death) -> RunRecord:
    """The killed run, closed: by the event alone, or by as many sweeps as it takes."""

    def look() -> RunRecord | None:
        run = tiny.stack.ledger.run(tiny.name, death.run_id)
        if run is not None and run.outcome is not None:
            return run
        if death.needs_sweep:
            reconcile(tiny.stack)
        return None

    return until(look, interval=1)


def serves(tiny: Tiny, fence: int) -> None:
    """The champion is of that run, and serves."""
    champion = tiny.stack.pipeline(tiny.name).champion
    assert champion is not None
    assert champion.run_id == f"{tiny.name}-g{fence}"
    assert tiny.serving_config == champion.endpoint_config_name


@contextmanager
def served_throughout(tiny: Tiny) -> Iterator[None]:
    """Asks the endpoint again and again; every request must be answered."""
    answers = [ask(tiny.stack, tiny.name, {"x": 100})]

    def request() -> None:
        try:
            answers.append(ask(tiny.stack, tiny.name, {"x": 100}))
        except Exception as error:  # noqa: BLE001  whatever it is, nobody was served
            answers.append(error)

    with repeating(request, 0.2):
        yield
    assert len(answers) > 5
    assert [answer for answer in answers if isinstance(answer, Exception)] == []
