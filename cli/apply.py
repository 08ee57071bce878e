"""`ratchet apply`: a pipeline's folder becomes the definition its runs use."""

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from cli.bundles import Bundle, model_bundle, script_bundle, wheel_bundle
from cli.compiled import holidays_of, require_acceptable, store_definition
from cli.definition import read_definition
from cli.render import console, print_json, waiting
from cli.run import invoke, start_run
from cli.stack import JsonOption, Stack
from local.cloud.settings import REPOSITORY
from ratchet.contracts.starting import StartRunRequest, StartRunResult
from ratchet.domain.code_bundle import CodeBundle
from ratchet.domain.definition import CompiledDefinition, Definition

_JOBS = REPOSITORY / "jobs"
_RETRY_SECONDS = 3600


@dataclass(frozen=True)
class Code:
    """Everything of ours that a run's jobs execute."""

    model: Bundle
    preprocess: Bundle
    wheel: Bundle

    @classmethod
    def pack(cls, jobs: Path = _JOBS) -> "Code":
        """Packs the jobs of this working copy and the wheel that the Glue script needs."""
        return cls(
            model_bundle(jobs / "model"),
            script_bundle(jobs / "preprocess/preprocess.py"),
            wheel_bundle("narwhals"),
        )

    @property
    def bundles(self) -> tuple[Bundle, Bundle, Bundle]:
        return self.model, self.preprocess, self.wheel

    def located(self, bucket: str) -> CodeBundle:
        """Where the code stands once stored."""
        return CodeBundle(
            model_uri=self.model.uri(bucket),
            model_sha256=self.model.sha256,
            preprocess_uri=self.preprocess.uri(bucket),
            preprocess_sha256=self.preprocess.sha256,
            wheel_uri=self.wheel.uri(bucket),
            wheel_sha256=self.wheel.sha256,
        )


@dataclass(frozen=True)
class Applied:
    """What `apply` did."""

    pipeline: str
    definition_id: str
    changed: bool
    contract_changed: bool
    schedule: str | None
    judged_anew: bool = False
    run: StartRunResult | None = None


def apply(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The pipeline's folder, such as pipelines/traffic.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Overrides a field: --set retrain.settle=10s. Repeatable.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Store a pipeline's definition and code, and make it the one its runs use."""
    definition = read_definition(folder, settings or ())
    stack = Stack.connect(context)
    if as_json:
        applied = apply_definition(stack, definition, Code.pack())
        print_json({**asdict(applied), "run": applied.run})
        return
    with waiting(f"Applying {folder}"):
        applied = apply_definition(stack, definition, Code.pack())
    _tell(applied)


def apply_definition(stack: Stack, definition: Definition, code: Code) -> Applied:
    """Stores everything content-addressed, points the ledger at it, and sees to the schedule and the work it means."""
    require_acceptable(definition)
    outputs, ledger = stack.outputs, stack.ledger
    compiled = CompiledDefinition(
        definition=definition,
        code=code.located(outputs.artifacts_bucket_name),
        image_uri=definition.train.image_uri or outputs.training_image_uri,
        holidays=holidays_of(definition),
    )
    for bundle in code.bundles:
        bundle.store(stack.s3, outputs.artifacts_bucket_name)
    before = ledger.pipeline(definition.name)
    reference = store_definition(stack, compiled)
    changed = ledger.apply_definition(definition.name, reference)
    _put_schedule(stack, definition)
    contract_changed = before is not None and (
        before.definition is None or before.definition.data_hash != reference.data_hash
    )
    judged_anew = contract_changed and bool(ledger.objects(definition.name))
    if judged_anew:
        invoke(stack, outputs.reconcile_function_name, {})
    starts = changed and bool(ledger.accepted(definition.name, reference.data_hash))
    return Applied(
        pipeline=definition.name,
        definition_id=reference.definition_id,
        changed=changed,
        contract_changed=contract_changed,
        schedule=definition.retrain.schedule,
        judged_anew=judged_anew,
        run=start_run(stack, definition.name, reason="event") if starts else None,
    )


def _put_schedule(stack: Stack, definition: Definition) -> None:
    """The pipeline's own schedule in the stack's group; none when the definition states none."""
    outputs, scheduler = stack.outputs, stack.scheduler
    name, group = f"{outputs.resource_prefix}-{definition.name}", outputs.schedule_group_name
    expression = definition.retrain.schedule
    if expression is None:
        with suppress(scheduler.exceptions.ResourceNotFoundException):
            scheduler.delete_schedule(Name=name, GroupName=group)
        return
    request = StartRunRequest(pipeline=definition.name, reason="schedule")
    options: dict[str, object] = {
        "Name": name,
        "GroupName": group,
        "Description": f"Runs the pipeline {definition.name} when it has new work.",
        "ScheduleExpression": expression,
        "ScheduleExpressionTimezone": definition.retrain.timezone,
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {
            "Arn": outputs.start_run_function_arn,
            "RoleArn": outputs.scheduler_role_arn,
            "DeadLetterConfig": {"Arn": outputs.scheduler_dead_letter_queue_arn},
            "RetryPolicy": {"MaximumEventAgeInSeconds": _RETRY_SECONDS, "MaximumRetryAttempts": 10},
            "Input": request.model_dump_json(exclude_none=True),
        },
    }
    try:
        scheduler.create_schedule(**options)  # type: ignore[arg-type]
    except scheduler.exceptions.ConflictException:
        scheduler.update_schedule(**options)  # type: ignore[arg-type]


def _tell(applied: Applied) -> None:
    short = applied.definition_id[:12]
    if not applied.changed:
        console.print(f"[green]{applied.pipeline} is unchanged[/] (definition {short}).")
        return
    console.print(f"[green]{applied.pipeline} has a new definition[/] ({short}).")
    console.print(f"  schedule: {applied.schedule or 'none'}")
    if applied.judged_anew:
        console.print("  The data contract changed: its uploads are being judged anew.")
    if applied.run:
        console.print(f"  {applied.run.because}")
    if not applied.run and not applied.judged_anew:
        console.print(f"[dim]Next: `ratchet upload FILE --pipeline {applied.pipeline}`.[/]")
