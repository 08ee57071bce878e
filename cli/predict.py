"""`ratchet predict`: asks a pipeline's endpoint."""

import json
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError

from cli.errors import CommandError
from cli.render import print_json
from cli.stack import Stack


def predict(
    context: typer.Context,
    pipeline: Annotated[str, typer.Argument(help="The pipeline's name.")],
    record: Annotated[str, typer.Option("--json", help="One record, or a list of records, with the raw column names.")],
) -> None:
    """Predict with the model that serves; the answer is JSON."""
    try:
        asked = json.loads(record)
    except json.JSONDecodeError as error:
        raise CommandError(
            f"--json is not JSON ({error.msg} at character {error.pos}). "
            """Write a record such as --json '{"temp": 281.5}', in single quotes for the shell."""
        ) from error
    stack = Stack.connect(context)
    stack.pipeline(pipeline)
    print_json(ask(stack, pipeline, asked))


def ask(stack: Stack, pipeline: str, record: Any) -> Any:
    """The endpoint's answer to one record, or to a list of them."""
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
        if error.response["Error"]["Code"] == "ValidationError" and "not found" in str(error).lower():
            raise CommandError(
                f"{pipeline} has no model that serves yet. `ratchet runs {pipeline}` shows how its runs ended."
            ) from error
        raise
    return json.loads(response["Body"].read())
