"""What a dead run left at work: stopping an execution only tries to stop its job, a timeout or a deletion does not."""

from datetime import timedelta

from ratchet.domain.errors import DependencyBusyError
from ratchet.domain.ledger import RunRecord
from ratchet.domain.ports import Jobs, StartedJobs

_CLOCKS_DIFFER = timedelta(minutes=1)


def stop_leftovers(jobs: Jobs, record: RunRecord) -> None:
    """Tells every job of the run to stop; DependencyBusyError until none writes where the next run's jobs will.

    Training and transform jobs write under names of their own: they are told to stop and not waited for. Preprocessing
    writes under its key, so a run that tries the same work again would write among the leftovers.
    """
    if record.plan is None:
        return
    if writing := jobs.stop(started_jobs(record)):
        raise DependencyBusyError(f"{record.run_id} left {', '.join(writing)} at work; stopping takes a moment")


def started_jobs(record: RunRecord) -> StartedJobs:
    """The jobs that a run may have started, as far as it came."""
    plan, selection = record.plan, record.selection
    preprocess = plan.preprocess if plan else None
    return StartedJobs(
        training=frozenset(candidate.job_name for candidate in plan.train.candidates)
        if plan and plan.train
        else frozenset(),
        transform=frozenset(model.job_name for model in selection.models_to_score) if selection else frozenset(),
        preprocess_output=preprocess.output_uri if preprocess and not preprocess.known else None,
        since=record.started_at - _CLOCKS_DIFFER,
    )
