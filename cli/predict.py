"""`ratchet predict`, `ratchet wake` and `ratchet openapi`: the HTTP API from the terminal."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError

from cli.api import Answer
from cli.errors import CommandError
from cli.render import console, print_json
from cli.stack import Stack
from ratchet.domain.openapi import describe
from ratchet.domain.predicting import MAX_RECORDS, ServingContracts, serving
from ratchet.domain.waking import Wake


def predict(
    context: typer.Context,
    pipeline: Annotated[str, typer.Argument(help="The pipeline's name.")],
    file: Annotated[
        Path | None, typer.Argument(help="A file of records: a JSON list, or one JSON object a line.", exists=True)
    ] = None,
    record: Annotated[
        str | None, typer.Option("--json", help="One record, or a list of records, with the raw column names.")
    ] = None,
) -> None:
    """Predict with the model that serves, through the HTTP API; the answer is JSON."""
    if record is not None and file is None:
        asked = _parsed(record, "--json")
    elif file is not None and record is None:
        asked = _records(file)
    else:
        raise CommandError("Name a file of records, or write them with --json; one of the two.")
    stack = Stack.connect(context)
    stack.pipeline(pipeline)
    records = asked if isinstance(asked, list) else [asked]
    answers = [answer for part in _parts(records) for answer in request(stack, pipeline, part)]
    print_json(answers if isinstance(asked, list) else answers[0])


def wake(context: typer.Context, pipeline: Annotated[str, typer.Argument(help="The pipeline's name.")]) -> None:
    """Start a champion's endpoint that was deleted because nobody asked it."""
    stack = Stack.connect(context)
    stack.pipeline(pipeline)
    if Wake(stack.ledger, stack.endpoints)(pipeline):
        console.print(f"[green]{pipeline} serves.[/]")
    else:
        console.print(f"The endpoint of {pipeline} is on its way; it serves in a few minutes.")


def openapi(context: typer.Context, pipeline: Annotated[str, typer.Argument(help="The pipeline's name.")]) -> None:
    """Print the OpenAPI description of a pipeline's predictions, derived from its champion's contract."""
    stack = Stack.connect(context)
    stack.pipeline(pipeline)
    state, champion = serving(stack.ledger, pipeline)
    contracts = ServingContracts(stack.ledger, stack.store, stack.outputs.artifacts_bucket_name)
    print_json(describe(pipeline, contracts.of(state, champion).data, stack.outputs.api_url))


def request(stack: Stack, pipeline: str, records: list[Any]) -> list[Any]:
    """The API's predictions; CommandError with what it said instead."""
    answer = stack.api.post("pipelines", pipeline, "predictions", body={"records": records})
    if answer.ok:
        predictions: list[Any] = answer.body["predictions"]
        return predictions
    raise CommandError(_refusal(pipeline, answer))


def ask(stack: Stack, pipeline: str, record: Any) -> Any:
    """The endpoint's own answer to one record, or to a list of them, past the API."""
    try:
        response = stack.predictions.invoke_endpoint(
            EndpointName=stack.endpoint_name(pipeline),
            ContentType="application/json",
            Accept="application/json",
            Body=json.dumps(record).encode(),
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "ModelError":
            said = error.response.get("OriginalMessage") or error.response["Error"]["Message"]
            raise CommandError(f"The model of {pipeline} refused the record: {str(said).splitlines()[0]}") from error
        raise
    return json.loads(response["Body"].read())


def _refusal(pipeline: str, answer: Answer) -> str:
    wait = answer.headers.get("retry-after")
    again = f" Try again in {wait} s." if wait else ""
    problems = answer.body.get("problems", []) if isinstance(answer.body, dict) else []
    listed = "".join(f"\n  - record {p['record']}, {p['field'] or 'as a whole'}: {p['problem']}" for p in problems)
    return f"{pipeline} answered {answer.status}: {answer.reason}.{again}{listed}"


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise CommandError(
            f"{where} is not JSON ({error.msg} at character {error.pos}). "
            """Write a record such as --json '{"temp": 281.5}', in single quotes for the shell."""
        ) from error


def _records(file: Path) -> list[Any]:
    text = file.read_text().strip()
    if text.startswith("["):
        records: list[Any] = _parsed(text, str(file))
        return records
    return [_parsed(line, f"{file}, line {place}") for place, line in enumerate(text.splitlines(), 1) if line.strip()]


def _parts(records: list[Any]) -> Iterator[list[Any]]:
    """What one request may hold; nothing at all is the API's to refuse."""
    for start in range(0, len(records) or 1, MAX_RECORDS):
        yield records[start : start + MAX_RECORDS]
