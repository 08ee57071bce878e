"""A statement removed from a role of the running stack: the step that needs it is denied and the run ends visibly.

Once the statement is back, the retry that the run planned succeeds. tests/permissions proves the same of every other
statement, from a recording.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.history import timeline
from cli.listen import Listener
from cli.stack import Stack
from ratchet.contracts.run import RunOutcome
from tests.e2e.once import Tiny, files, until
from tests.e2e.removing import without

pytestmark = pytest.mark.permissions


@dataclass(frozen=True)
class Removal:
    """A statement, and the action whose denial ends the run."""

    role: str
    statement: str
    denied: str

    @property
    def pipeline(self) -> str:
        """A pipeline of its own."""
        return f"no-{self.statement.lower()}"


# In the order of the run's steps. tests/e2e/test_permissions.py has those at its door and at its end.
REMOVALS = [
    Removal("CheckIdempotencyFunctionRole", "WriteSnapshot", "s3:PutObject"),
    Removal("RetrainStateMachineRole", "Preprocess", "glue:StartJobRun"),
    Removal("GlueRole", "WriteOutput", "s3:PutObject"),
    Removal("TrainingRole", "ReadInputs", "s3:GetObject"),
    Removal("TrainingRole", "WriteModelsAndScores", "s3:PutObject"),
    Removal("SelectCandidateFunctionRole", "AskWhatTrainingLeft", "sagemaker:DescribeTrainingJob"),
    Removal("EvaluateModelFunctionRole", "WriteDecision", "s3:PutObject"),
    Removal("DeployEndpointFunctionRole", "Deploy", "sagemaker:DescribeEndpoint"),
    Removal("VerifyEndpointFunctionRole", "Predict", "sagemaker:InvokeEndpoint"),
]


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: f"{removal.role}-{removal.statement}")
def test_a_run_without_the_statement_fails_visibly_and_the_next_one_succeeds(
    removal: Removal, stack: Stack, people: Listener, tmp_path: Path
) -> None:
    tiny = Tiny(removal.pipeline, stack, tmp_path)
    tiny.apply("retrain.retry_after=[5s]")
    with without(stack, removal.role, removal.statement):
        tiny.put(files([1]))
        failed = tiny.await_end(1)
        until(lambda: timeline(stack.executions, failed.execution_arn).ended)
    assert failed.outcome is RunOutcome.FAILED
    assert failed.error
    assert removal.denied in failed.error.cause
    assert "not authorized" in failed.error.cause or "AccessDenied" in failed.error.cause
    assert stack.pipeline(tiny.name).champion is None
    assert people.hear(failed.run_id, "failed"), "nobody was told"
    assert tiny.await_end(2).outcome is RunOutcome.DEPLOYED
