"""The retrain workflow as Step Functions plays it, over the fakes: jobs end at once, every candidate is promoted."""

from collections.abc import Callable
from typing import TypeVar

from ratchet.contracts.run import DeploymentResult, Evaluation, Run, RunOutcome, TaskError
from ratchet.domain.errors import DependencyBusyError, StaleRunError
from ratchet.domain.ports import ExecutionStatus
from tests.unit import samples
from tests.unit.world import ENDPOINT, World

T = TypeVar("T")
PROMOTED = Evaluation(
    outcome="PROMOTE",
    metric="forecast_accuracy",
    candidate=0.95,
    champion=None,
    naive=0.8,
    threshold=0.9,
    sentence="the candidate is promoted",
    finding=None,
    decision_uri=f"s3://{samples.ARTIFACTS}/runs/traffic/decision.json",
)


class ExecutionStoppedError(Exception):
    """StopExecution took effect: the state under way ends, no other one begins."""


class Execution:
    """The retrain workflow as Step Functions plays it; jobs end at once."""

    def __init__(self, world: World, run: Run) -> None:
        self.world, self.run = world, run

    def __call__(self) -> None:
        try:
            self._work()
        except ExecutionStoppedError:
            return
        except Exception as error:  # noqa: BLE001  Catch: States.ALL
            self._fail(error)
        finally:
            self.world.workflow.statuses[self.world.arn(self.run)] = ExecutionStatus.ENDED

    def _work(self) -> None:
        world, run = self.world, self.run
        plan = self._state(lambda: world.plan(run))
        if plan.outcome == "NOTHING_TO_DO":
            return
        assert plan.preprocess is not None
        if not plan.preprocess.known:
            world.preprocess(plan, rows=[])
        trained = world.train(plan)
        selection = self._state(lambda: world.select(run, plan, trained))
        self._state(lambda: world.deploy(run, selection))
        finish_endpoint(world)
        busy(lambda: world.resume_deployment(ENDPOINT))
        deployed = DeploymentResult(endpoint_name=ENDPOINT, endpoint_config_name=selection.model_name, seconds=90)
        found = {"plan": plan, "selection": selection, "evaluation": PROMOTED, "deployment": deployed}
        self._state(lambda: world.close(run, RunOutcome.DEPLOYED, **found))

    def _fail(self, error: Exception) -> None:
        said = TaskError(error=type(error).__name__, cause=str(error))
        try:
            self._state(lambda: self.world.close(self.run, RunOutcome.FAILED, error=said))
        except (StaleRunError, ExecutionStoppedError):
            return  # Run Not Closed

    def _state(self, task: Callable[[], T]) -> T:
        if self.world.workflow.status(self.world.arn(self.run)) is ExecutionStatus.ENDED:
            raise ExecutionStoppedError

        def attempt() -> T:
            finish_endpoint(self.world)
            return task()

        return busy(attempt)


def busy(task: Callable[[], T], attempts: int = 20) -> T:
    """Retry of the workflows: DependencyBusyError."""
    for _ in range(attempts):
        try:
            return task()
        except DependencyBusyError as error:
            last = error
    raise last


def finish_endpoint(world: World) -> None:
    live = world.endpoints.live.get(ENDPOINT)
    if live is not None and live.status in ("Creating", "Updating"):
        world.endpoints.finish(ENDPOINT)
