"""What the states of the retrain workflow ask of functions; what these answer is part of the run."""

from ratchet.contracts.base import Contract
from ratchet.contracts.run import DeploymentResult, Purpose, Run, RunPlan, Selection


class CheckIdempotencyRequest(Contract):
    """Asks what of this run's work is new."""

    run: Run
    execution_arn: str


class TrainedCandidate(Contract):
    """What the Train Candidate state keeps: which job it was. What it left, SageMaker is asked for."""

    training_job_name: str


class SelectCandidateRequest(Contract):
    """The plan and the jobs that trained, in the order of `plan.train.candidates`."""

    run: Run
    plan: RunPlan
    trained: tuple[TrainedCandidate, ...]


class EvaluateModelRequest(Contract):
    """Everything the judge needs; the scores themselves stand in S3."""

    run: Run
    plan: RunPlan
    selection: Selection


class DeployEndpointRequest(Contract):
    """Deploys the candidate; the task token is answered by resume_deployment."""

    run: Run
    selection: Selection
    task_token: str
    purpose: Purpose = Purpose.SERVE


class VerifyEndpointRequest(Contract):
    """Asks an endpoint for rows whose answer the judge saw."""

    run: Run
    selection: Selection
    deployment: DeploymentResult


class CompareShadowRequest(Contract):
    """Compares the candidate's copies with the champion's requests since the shadow began."""

    run: Run
    plan: RunPlan
    shadow: DeploymentResult
