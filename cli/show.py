"""`ratchet status`, `ratchet runs`, `ratchet show`: what the ledger knows."""

import json
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError
from rich.console import RenderableType
from rich.text import Text

from cli import savings, show_upload
from cli.errors import CommandError
from cli.find import names_upload
from cli.history import Timeline, timeline
from cli.render import console, finding, moment, now, number, outcome, print_json, seconds, stack_of, table
from cli.stack import JsonOption, Stack, Target
from cli.watch import states_table
from ratchet.contracts.run import Evaluation, ShadowComparison
from ratchet.domain.ledger import Approval, PipelineState, RunRecord
from ratchet.domain.savings import StepUse, saved, steps_of


def status(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show which stack the command talks to, and the state of its pipelines."""
    stack = Stack.connect(context)
    pipelines = sorted(stack.ledger.pipelines(), key=lambda state: state.pipeline)
    if as_json:
        print_json({"target": stack.target, "stack": stack.name, "stage": stack.outputs.stage, "pipelines": pipelines})
        return
    where = stack.session.client("sts").meta.endpoint_url if stack.target is Target.LOCAL else stack.session.region_name
    console.print(f"Stack [bold]{stack.name}[/] {stack.where} ({where}), stage {stack.outputs.stage}.")
    if not pipelines:
        console.print("[dim]No pipelines yet: `ratchet apply pipelines/traffic`.[/]")
        return
    columns = ("pipeline", "champion", "score#", "state", "definition")
    console.print(table(*columns, rows=[_pipeline_row(state) for state in pipelines]))


def runs(
    context: typer.Context,
    pipeline: Annotated[str | None, typer.Argument(help="Only this pipeline's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List every run and how it ended."""
    stack = Stack.connect(context)
    found = runs_of(stack, [pipeline] if pipeline else None)
    if as_json:
        print_json(found)
    elif found:
        console.print(runs_table(found))
    else:
        console.print("[dim]No runs yet: `ratchet upload FILE --pipeline NAME` starts one.[/]")


def show(
    context: typer.Context,
    run: Annotated[
        str,
        typer.Argument(metavar="RUN|UPLOAD", help="A run's id, such as traffic-g1, or an upload's id or key."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Show a run: its decision, reasons, numbers, states and times; or what validation found in an upload."""
    stack = Stack.connect(context)
    if names_upload(run):
        report = show_upload.read_report(stack, run)
        if as_json:
            print_json(report)
        else:
            console.print(show_upload.page(report))
        return
    record = record_of(stack, run)
    decision = _decision(stack, record)
    states = _timeline(stack, record)
    steps = steps_of(stack.ledger, record)
    approval = stack.ledger.approval(record.pipeline, record.run_id)
    if as_json:
        time, money = saved(steps)
        used = {"steps": [step._asdict() for step in steps], "saved": {"seconds": time, "dollars": money}}
        asked = approval and approval.model_dump(mode="json", exclude={"task_token"})  # whoever has it can answer it
        print_json({"run": record, "decision": decision, "approval": asked, **used, "states": _states_json(states)})
    else:
        console.print(_page(record, decision, approval, steps, states))


def runs_of(stack: Stack, pipelines: list[str] | None = None) -> list[RunRecord]:
    """The runs of the pipelines, or of all, oldest first."""
    names = pipelines or [state.pipeline for state in stack.ledger.pipelines()]
    for name in pipelines or ():
        stack.pipeline(name)
    return sorted((run for name in names for run in stack.ledger.runs(name)), key=lambda run: run.started_at)


def runs_table(found: list[RunRecord], title: str | None = None) -> RenderableType:
    """One line per run."""
    columns = (
        "run",
        "outcome",
        "uploads#",
        "metric",
        "candidate#",
        "champion#",
        "naive#",
        "threshold#",
        "time#",
        "started",
    )
    return table(*columns, rows=[_run_row(run) for run in found], title=title)


def _pipeline_row(state: PipelineState) -> tuple[RenderableType, ...]:
    champion = state.champion
    doing = "running" if state.owner else "behind" if state.behind else "up to date"
    return (
        state.pipeline,
        champion.run_id if champion else Text("none yet", style="dim"),
        number(champion.score) if champion else "",
        doing,
        state.definition.definition_id[:12] if state.definition else "",
    )


def _run_row(run: RunRecord) -> tuple[RenderableType, ...]:
    judged = run.evaluation
    return (
        run.run_id,
        outcome(run.outcome),
        str(run.plan.uploads) if run.plan else "",
        judged.metric if judged else "",
        number(judged.candidate) if judged else "",
        number(judged.champion) if judged else "",
        number(judged.naive) if judged else "",
        number(judged.threshold) if judged else "",
        seconds(_duration(run)),
        moment(run.started_at),
    )


def _duration(run: RunRecord) -> float:
    return ((run.ended_at or now()) - run.started_at).total_seconds()


def record_of(stack: Stack, run: str) -> RunRecord:
    """The run of that id, such as traffic-g1; CommandError when there is none."""
    pipeline, separator, _ = run.rpartition("-g")
    record = stack.ledger.run(pipeline, run) if separator else None
    if record is None:
        raise CommandError(f"The stack {stack.name} has no run {run}. `ratchet runs` lists them all.")
    return record


def _decision(stack: Stack, record: RunRecord) -> dict[str, Any] | None:
    """The judge's whole document, when the run came that far."""
    if record.evaluation is None:
        return None
    bucket, _, key = record.evaluation.decision_uri.removeprefix("s3://").partition("/")
    document: dict[str, Any] = json.loads(stack.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    return document


def _timeline(stack: Stack, record: RunRecord) -> Timeline | None:
    """The execution's states; None once Step Functions has forgotten it (after 90 days)."""
    try:
        return timeline(stack.executions, record.execution_arn)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ExecutionDoesNotExist":
            return None
        raise


def _page(
    record: RunRecord,
    decision: dict[str, Any] | None,
    approval: Approval | None,
    steps: list[StepUse],
    states: Timeline | None,
) -> RenderableType:
    reuse = savings.sentence(steps)
    return stack_of(
        [
            Text.assemble((record.run_id, "bold"), "  ", outcome(record.outcome), "  ", record.because or ""),
            Text(_circumstances(record), style="dim"),
            finding(record.finding) if record.finding else None,
            _numbers(record.evaluation) if record.evaluation else None,
            _rules(decision) if decision else None,
            _approval(approval, record) if approval else None,
            _shadow(record.comparison) if record.comparison else None,
            _serving(record),
            savings.steps_table(steps) if steps else None,
            Text(reuse, style="green") if reuse else None,
            states_table(states) if states else None,
            _timings(record) if not states and record.timings else None,
        ]
    )


def _circumstances(record: RunRecord) -> str:
    plan = record.plan
    parts = [f"started {moment(record.started_at)} by {record.reason}", f"took {seconds(_duration(record))}"]
    if plan and plan.snapshot_id and plan.definition_id:
        parts.append(f"{plan.uploads} uploads, snapshot {plan.snapshot_id[:12]}, definition {plan.definition_id[:12]}")
    return " · ".join(parts)


def _numbers(judged: Evaluation) -> RenderableType:
    figures = (judged.candidate, judged.champion, judged.naive, judged.threshold)
    columns = ("metric", "candidate#", "champion#", "naive#", "threshold#")
    return table(*columns, rows=[(judged.metric, *(number(figure) or "-" for figure in figures))])


def _rules(decision: dict[str, Any]) -> RenderableType:
    """Each rule of the gate with the numbers behind it."""
    marks = {True: Text("✓", style="green"), False: Text("✗", style="yellow")}
    rows = [(marks[rule["passed"]], rule["name"], rule["sentence"], _figures(rule)) for rule in decision["rules"]]
    return table("", "rule", "says", "numbers", rows=rows)


def _figures(rule: dict[str, Any]) -> Text:
    plain = {name: value for name, value in rule["numbers"].items() if isinstance(value, int | float | str)}
    shown = (f"{name} {number(value) if not isinstance(value, str) else value}" for name, value in plain.items())
    return Text(", ".join(shown), style="dim")


def _approval(asked: Approval, record: RunRecord) -> RenderableType:
    """Who decided, when and why, or until when it waits for somebody to."""
    if asked.decision is not None:
        told = f"{asked.decision.lower()} {moment(asked.decided_at)} by {asked.by}: {asked.reason}"
    elif record.outcome is None:
        run = record.run_id
        told = (
            f"waits for approval until {moment(asked.expires_at)}: `ratchet approve {run} --reason '...'`, "
            f"or `ratchet reject {run} --reason '...'`"
        )
    else:
        told = f"nobody decided until {moment(record.ended_at)}"
    newer = f"; newer work had arrived {moment(asked.superseded_at)}" if asked.superseded_at else ""
    return Text(f"approval asked for {moment(asked.requested_at)}; {told}{newer}")


def _shadow(compared: ShadowComparison) -> RenderableType:
    columns = ("shadow", "requests#", "4XX#", "5XX#", "p99 ms#")
    rows = [
        (name, str(health.requests), str(health.errors_4xx), str(health.errors_5xx), number(health.latency_p99_ms))
        for name, health in (("candidate", compared.candidate), ("champion", compared.champion))
    ]
    return stack_of([table(*columns, rows=rows), Text(f"{seconds(compared.seconds)}: {compared.sentence}")])


def _serving(record: RunRecord) -> RenderableType | None:
    checked = record.verification
    if record.deployment is None or checked is None:
        return None
    return Text(
        f"serves at {record.deployment.endpoint_name}; {checked.rows} golden rows agreed within "
        f"{checked.largest_difference:.2g}; median latency {checked.latency_p50_ms:.0f} ms"
    )


def _timings(record: RunRecord) -> RenderableType:
    return table("step", "time#", rows=[(name, seconds(took)) for name, took in record.timings.items()])


def _states_json(states: Timeline | None) -> list[dict[str, Any]]:
    return [
        {"name": state.name, "started": state.started, "ended": state.ended, "seconds": state.seconds(now())}
        for state in (states.states if states else ())
    ]
