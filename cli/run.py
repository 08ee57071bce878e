"""`ratchet run`: the start_run function, the one door of every trigger."""

import json
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from cli.compiled import definition_for_one_run
from cli.errors import CommandError
from cli.render import console, print_json
from cli.stack import JsonOption, Stack
from ratchet.contracts.run import DefinitionRef
from ratchet.contracts.starting import StartRunRequest, StartRunResult


def run(
    context: typer.Context,
    pipeline: Annotated[str, typer.Argument(help="The pipeline's name.")],
    force: Annotated[bool, typer.Option("--force", help="Run also when nothing is new.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="For this run alone: --set train.hyperparameters.max_depth=6. Repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start a run now, if the pipeline has new work."""
    stack = Stack.connect(context)
    state = stack.pipeline(pipeline)
    definition = definition_for_one_run(stack, state, settings) if settings else None
    started = start_run(stack, pipeline, reason="manual", forced=force, definition=definition)
    if as_json:
        print_json(started)
    elif started.started:
        console.print(f"[green]Started {started.run_id}.[/] [dim]Follow it with `ratchet watch {pipeline}`.[/]")
    else:
        console.print(f"No run was started: {started.because}")


def start_run(
    stack: Stack, pipeline: str, reason: str, forced: bool = False, definition: DefinitionRef | None = None
) -> StartRunResult:
    """Asks for a run; the answer says whether one began, or why not."""
    request = StartRunRequest(pipeline=pipeline, reason=reason, forced=forced, definition=definition)
    return StartRunResult.model_validate(invoke(stack, stack.outputs.start_run_function_name, request))


def invoke(stack: Stack, function: str, payload: BaseModel | dict[str, Any]) -> Any:
    """A function's answer; CommandError with the function's own error when it failed."""
    document = payload.model_dump(mode="json", exclude_none=True) if isinstance(payload, BaseModel) else payload
    response = stack.functions.invoke(FunctionName=function, Payload=json.dumps(document).encode())
    answer = json.loads(response["Payload"].read() or b"null")
    if "FunctionError" in response:
        raise CommandError(
            f"The function {function} failed with {answer.get('errorType', 'an error')}: "
            f"{answer.get('errorMessage', 'no message')}"
        )
    return answer
