"""Work is done once: copies, bursts, deaths, disorder and lost events end in the same ledger and the same champion."""

import json
import time
from collections.abc import Callable, Sequence

import pytest
from _pytest.mark import ParameterSet

from cli.listen import Listener
from cli.predict import ask
from cli.run import invoke, start_run
from cli.stack import Stack
from local.cloud.chaos import Chaos, disturbed
from local.cloud.process import Cloud
from ratchet.contracts.run import RunOutcome
from ratchet.domain.identity import upload_id
from ratchet.domain.ledger import RunRecord
from tests.e2e.once import Tiny, files, later, points, reconcile, until

COPIES, NAMES, BURST, LOST, DISORDERED = 100, 10, 300, 10, 50
SEEDS = range(20)
COMMON_SEEDS = (0,)


@pytest.fixture
def new_tiny(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tiny]:
    return lambda name: Tiny(name, stack, tmp_path_factory.mktemp(name))


def marked(cases: Sequence[tuple[object, ...]], common: Sequence[tuple[object, ...]]) -> list[ParameterSet]:
    """Test parameters: what is not common is slow."""
    return [pytest.param(*case, marks=() if case in common else pytest.mark.slow) for case in cases]


def trained(runs: list[RunRecord]) -> list[RunRecord]:
    """The runs that went beyond their plan."""
    return [run for run in runs if run.plan is not None and run.plan.outcome == "NEW_WORK"]


def test_the_same_file_a_hundred_times_under_ten_names(new_tiny: Callable[[str], Tiny], stack: Stack) -> None:
    tiny = new_tiny("copies")
    tiny.apply("retrain.settle=1s")
    content = points(0)
    tiny.put([(f"copy-{number % NAMES}.csv", content) for number in range(COPIES)])
    objects = tiny.await_objects(COPIES)
    runs = tiny.settled()

    listed = stack.s3.list_object_versions(Bucket=stack.outputs.data_bucket_name, Prefix=f"incoming/{tiny.name}/")
    assert set(objects) == {(version["Key"], version["VersionId"]) for version in listed["Versions"]}
    assert len(objects) == COPIES
    assert set(objects.values()) == {upload_id([content])}
    assert len(stack.ledger.verdicts(tiny.name)) == 1
    assert tiny.jobs().training == ["Completed"]
    assert runs[0].outcome is RunOutcome.DEPLOYED
    assert {run.outcome for run in runs[1:]} <= {RunOutcome.NOTHING_TO_DO}


@pytest.mark.slow
def test_a_burst_of_three_hundred_files(new_tiny: Callable[[str], Tiny]) -> None:
    tiny = new_tiny("burst")
    tiny.apply("retrain.settle=10s")
    burst = files(range(BURST))
    tiny.put(burst)
    objects = tiny.await_objects(BURST)
    runs = trained(tiny.settled())

    uploads = {upload_id([content]) for _, content in burst}
    assert set(objects.values()) == uploads
    assert set(tiny.snapshot(runs[-1])) == uploads
    assert len(runs) <= 3
    assert tiny.jobs().training == ["Completed"] * len(runs)


def test_pipelines_do_not_wait_for_one_another(new_tiny: Callable[[str], Tiny]) -> None:
    several = [new_tiny(f"side-{letter}") for letter in "abc"]
    for tiny in several:
        tiny.apply("retrain.settle=1s")
    for number, tiny in enumerate(several):
        tiny.put(files([number]))
    runs = [tiny.last() for tiny in several]
    assert {run.outcome for run in runs} == {RunOutcome.DEPLOYED}
    ends = [run.ended_at for run in runs if run.ended_at is not None]
    assert max(run.started_at for run in runs) < min(ends), "each began before any had ended"


def disordered(tiny: Tiny) -> RunRecord:
    """Fifty uploads, some of which correct the rows of others, and one run when they are all judged."""
    tiny.apply("retrain.on_upload=false")
    new, corrected = files(range(DISORDERED - 10)), [(f"{n}-again.csv", shifted(n)) for n in range(10)]
    tiny.put(new)
    time.sleep(1.1)  # S3 dates versions to the second
    tiny.put(corrected)
    until(lambda: len(tiny.stack.ledger.verdicts(tiny.name)) == DISORDERED or None)
    started = start_run(tiny.stack, tiny.name, reason="manual")
    assert started.started, started.because
    run = tiny.await_end(1)
    assert run.outcome is RunOutcome.DEPLOYED, run.finding
    assert tiny.snapshot(run) == by_precedence(tiny)
    assert set(tiny.snapshot(run)[-len(corrected) :]) == {upload_id([content]) for _, content in corrected}
    return run


def by_precedence(tiny: Tiny) -> list[str]:
    """The upload ids in the order that S3's own dates give, whatever was delivered when."""
    bucket, prefix = tiny.stack.outputs.data_bucket_name, f"incoming/{tiny.name}/"
    versions = tiny.stack.s3.list_object_versions(Bucket=bucket, Prefix=prefix)["Versions"]
    objects = tiny.stack.ledger.objects(tiny.name)
    dated = [
        (version["LastModified"].replace(microsecond=0), objects[version["Key"], version["VersionId"]])
        for version in versions
    ]
    return [upload for _, upload in sorted(dated)]


def shifted(number: int) -> bytes:
    """The same rows with other values."""
    header, *rows = points(number).decode().splitlines()
    fields = [row.split(",") for row in rows]
    return "\n".join([header, *(f"{i},{x},{float(y) + 1:.4f}" for i, x, y in fields), ""]).encode()


@pytest.fixture(scope="module")
def in_order(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tiny, RunRecord]:
    tiny = Tiny("in-order", stack, tmp_path_factory.mktemp("in-order"))
    return tiny, disordered(tiny)


@pytest.mark.timeout(900)  # the first one has the cloud made, and the run in order
@pytest.mark.parametrize("seed", marked([(seed,) for seed in SEEDS], [(seed,) for seed in COMMON_SEEDS]))
def test_deliveries_in_disorder(
    new_tiny: Callable[[str], Tiny], in_order: tuple[Tiny, RunRecord], stack: Stack, cloud: Cloud, seed: int
) -> None:
    ordered, expected = in_order
    tiny = new_tiny(f"disorder-{seed}")
    with disturbed(cloud.settings, Chaos(seed=seed, duplicates=0.5, delay=2)):
        run = disordered(tiny)

    def ledger(pipeline: Tiny) -> dict[str, tuple[str, str, int, int]]:
        return {
            v.verdict_id: (v.upload_id, v.outcome, v.rows, v.bad_rows) for v in stack.ledger.verdicts(pipeline.name)
        }

    assert ledger(tiny) == ledger(ordered)
    state, wanted = stack.pipeline(tiny.name), stack.pipeline(ordered.name)
    assert (state.work_seq, state.done_seq, state.owner) == (wanted.work_seq, wanted.done_seq, None)
    assert tiny.jobs().training == ["Completed"]
    assert run.evaluation is not None
    assert expected.evaluation is not None
    assert run.evaluation.candidate == pytest.approx(expected.evaluation.candidate)
    points_of_interest = [{"x": x} for x in range(0, 40, 5)]
    answers, wanted_answers = (ask(stack, each.name, points_of_interest) for each in (tiny, ordered))
    assert [a["prediction"] for a in answers] == pytest.approx([a["prediction"] for a in wanted_answers])


def test_eventbridge_off_for_ten_uploads(new_tiny: Callable[[str], Tiny], stack: Stack, cloud: Cloud) -> None:
    tiny = new_tiny("unheard")
    tiny.apply("retrain.settle=3s")
    lost = files(range(LOST))
    with disturbed(cloud.settings, Chaos(dropped=("aws.s3",))):
        tiny.put(lost)
        assert not reconcile(stack)["ingested"], "their events may still be on their way"
    assert not stack.ledger.objects(tiny.name)

    report = later(stack)(tiny.name)

    assert len(report.ingested) == LOST
    tiny.await_objects(LOST)
    assert set(tiny.snapshot(tiny.last())) == {upload_id([content]) for _, content in lost}


def test_the_nightly_trigger_does_not_train_a_refused_snapshot_again(
    new_tiny: Callable[[str], Tiny], stack: Stack
) -> None:
    tiny = new_tiny("nightly")
    tiny.apply("gate.threshold=1", "retrain.schedule=cron(0 2 * * ? *)")
    tiny.put(files([1]))
    tiny.await_run(1)
    assert tiny.last().outcome is RunOutcome.REFUSED
    schedule = stack.scheduler.get_schedule(
        Name=f"{stack.outputs.resource_prefix}-{tiny.name}", GroupName=stack.outputs.schedule_group_name
    )
    answer = invoke(stack, stack.outputs.start_run_function_name, json.loads(schedule["Target"]["Input"]))
    assert not answer["started"]
    assert [run.run_id for run in tiny.settled()] == ["nightly-g1"]
    assert tiny.jobs().training == ["Completed"]


def test_a_run_that_always_fails_is_tried_three_times_and_then_told(
    new_tiny: Callable[[str], Tiny], stack: Stack, people: Listener
) -> None:
    tiny = new_tiny("failing")
    tiny.apply("retrain.settle=3s", "retrain.retry_after=[1s, 1s]")
    (verdict,) = tiny.upload(tiny.file("1.csv", points(1)))
    bucket, _, key = str(verdict.accepted_uri).removeprefix("s3://").partition("/")
    stack.s3.delete_object(Bucket=bucket, Key=key)
    runs = [tiny.await_end(number) for number in (1, 2, 3)]

    assert [run.outcome for run in runs] == [RunOutcome.FAILED] * 3
    assert [run.reason for run in runs[1:]] == ["retry", "retry"]
    assert runs[2].failures == 3
    assert runs[2].retry_at is None
    assert people.hear(tiny.name, "failing-g3", "stalled")
    reconcile(stack)
    later(stack)(tiny.name)
    assert len(stack.ledger.runs(tiny.name)) == 3
    assert stack.pipeline(tiny.name).owner is None
