"""`ratchet dlq`: what failed for good, shown, given another try, or dropped with a reason."""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError
from rich.text import Text

from cli.dead_letters import DeadLetter, Held, held, queues_of
from cli.errors import CommandError, explain
from cli.render import console, errors, moment, now, print_json, table
from cli.stack import JsonOption, Stack
from ratchet.domain.identity import upload_id
from ratchet.domain.ingest import pipeline_of
from ratchet.domain.ledger import Upload
from ratchet.domain.withdrawing import WithdrawUpload

MOST = 1000  # letters of one queue that a command looks at

app = typer.Typer(help="Dead letters: events and invocations that failed for good.", no_args_is_help=True)

QueueOption = Annotated[str | None, typer.Option("--queue", help="Only this queue: ingest, events, scheduler, …")]
Letters = Annotated[list[str] | None, typer.Argument(help="Ids of letters; the first characters are enough.")]


@app.command("list")
def list_letters(context: typer.Context, queue: QueueOption = None, as_json: JsonOption = False) -> None:
    """What lies in the dead-letter queues: origin, error, first and last try."""
    stack = Stack.connect(context)
    with held(stack, queues_of(stack, queue), MOST) as hands:
        letters = hands.letters
        if as_json:
            print_json([_facts(letter) for letter in letters])
        elif not letters:
            console.print("[green]No dead letters.[/]")
        else:
            columns = ("id", "queue", "about", "error", "first", "last try")
            console.print(table(*columns, rows=[_row(letter) for letter in letters]))


@app.command()
def show(context: typer.Context, letter: Annotated[str, typer.Argument(help="The letter's id.")]) -> None:
    """One letter whole, as JSON."""
    stack = Stack.connect(context)
    with held(stack, queues_of(stack), MOST) as hands:
        found = _the_one(hands.letters, letter)
        print_json({**_facts(found), "body": _body(found)})


@app.command()
def redrive(
    context: typer.Context,
    letters: Letters = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    queue: QueueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give letters another try, through the door they came from; twice is harmless."""
    if bool(letters) == every:
        raise CommandError("Name letters (`ratchet dlq list`), or write --all.")
    stack = Stack.connect(context)
    queues, started = queues_of(stack, queue), now()
    sent: list[str] = []
    refused: dict[str, str] = {}
    while True:
        with held(stack, queues, MOST) as hands:
            older = [letter for letter in hands.letters if letter.last <= started]  # not what failed again meanwhile
            chosen = [letter for letter in _chosen(older, letters) if letter.letter_id not in refused]
            done, failed = _send_all(hands, chosen)
        sent += done
        refused |= failed
        if letters or not done:  # --all: until nothing is left that goes
            break
    if as_json:
        print_json({"redriven": sent, "refused": refused})
    else:
        console.print(f"[green]{len(sent)} redriven.[/] What fails again comes back as a new letter.")
        for letter_id, why in refused.items():
            errors.print(Text(f"{letter_id} stays: {why}", style="yellow"))
    if refused:
        raise typer.Exit(1)


@app.command()
def drop(
    context: typer.Context,
    letters: Annotated[list[str], typer.Argument(help="Ids of letters; the first characters are enough.")],
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why: it is kept with the letter for good.")],
) -> None:
    """Take letters out for good; each is kept in the artifacts bucket, its upload counts as withdrawn."""
    if not reason.strip():
        raise CommandError("Say why, with --reason: it is kept with the letter.")
    stack = Stack.connect(context)
    with held(stack, queues_of(stack), MOST) as hands:
        for letter in _chosen(hands.letters, letters):
            uri = f"s3://{stack.outputs.artifacts_bucket_name}/dead-letters/{letter.queue.name}/{letter.letter_id}.json"
            facts = {**_facts(letter), "body": _body(letter)}
            stack.store.write_json(uri, {**facts, "reason": reason, "by": stack.caller, "at": now().isoformat()})
            _withdraw(stack, letter, reason)
            hands.delete(letter)
            console.print(f"[green]Dropped:[/] {letter.letter_id}, kept as {uri}.", soft_wrap=True)


def _send_all(hands: Held, letters: Sequence[DeadLetter]) -> tuple[list[str], dict[str, str]]:
    """Letters that went, and why others did not."""
    sent: list[str] = []
    refused: dict[str, str] = {}
    for letter in letters:
        try:
            hands.send_back(letter)
        except (CommandError, ClientError) as error:
            refused[letter.letter_id] = explain(error)
        else:
            sent.append(letter.letter_id)
    return sent, refused


def _chosen(found: Sequence[DeadLetter], wanted: Sequence[str] | None) -> list[DeadLetter]:
    """The letters that the ids mean, all without ids; CommandError when one means none or several."""
    if not wanted:
        return list(found)
    return [_the_one(found, text) for text in wanted]


def _the_one(found: Sequence[DeadLetter], text: str) -> DeadLetter:
    matching = [letter for letter in found if letter.letter_id.startswith(text)]
    if len(matching) == 1:
        return matching[0]
    problem = "means several letters; write more of the id" if matching else "is no letter's id"
    raise CommandError(
        f"{text} {problem}. `ratchet dlq list` shows them; one in another's hands is hidden for 2 minutes."
    )


def _withdraw(stack: Stack, letter: DeadLetter, reason: str) -> None:
    """A dropped upload must not be found again by reconcile: its version is recorded, its bytes are withdrawn."""
    if letter.upload is None or (pipeline := pipeline_of(letter.upload[0])) is None:
        return
    if stack.ledger.pipeline(pipeline) is None:
        return
    key, version_id = letter.upload
    try:
        head = stack.s3.get_object(Bucket=stack.outputs.data_bucket_name, Key=key, VersionId=version_id)
    except stack.s3.exceptions.NoSuchKey:
        return  # deleted: there is nothing left to account for
    upload = Upload(
        upload_id=upload_id(_chunks(head["Body"])),
        key=key,
        version_id=version_id,
        modified=head["LastModified"],
        size=head["ContentLength"],
    )
    stack.ledger.record_object(pipeline, upload)
    WithdrawUpload(stack.ledger, stack.store, now)(pipeline, upload, reason, stack.caller)


def _chunks(body: Any) -> Iterator[bytes]:
    return iter(lambda: body.read(1 << 20), b"")


def _row(letter: DeadLetter) -> list[Text]:
    error = f"{letter.error}: {letter.message}" if letter.message else letter.error
    shown = error if len(error) <= 60 else f"{error[:59]}…"
    times = moment(letter.first), moment(letter.last)
    return [Text(cell) for cell in (letter.letter_id[:8], letter.queue.name, letter.subject, shown, *times)]


def _facts(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.letter_id,
        "queue": letter.queue.name,
        "about": letter.subject,
        "origin": letter.door,
        "error": letter.error,
        "message": letter.message,
        "first": letter.first.isoformat(),
        "last": letter.last.isoformat(),
    }


def _body(letter: DeadLetter) -> Any:
    try:
        return json.loads(letter.body)
    except ValueError:
        return letter.body
