"""`ratchet lineage`: from a model to all it was made of, and from an upload to every model it is in."""

from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from cli.find import find_model, find_upload
from cli.render import console, moment, number, outcome, print_json, stack_of, table
from cli.stack import JsonOption, Stack
from ratchet.domain.ledger import ChampionChange
from ratchet.domain.lineage import ModelLineage, model_lineage
from ratchet.domain.upload_lineage import UploadLineage, upload_lineage

_SCRIPT_MODE = "sagemaker_"


def lineage(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(help="A model, a run, a pipeline (its champion), an upload's id, or an object's key.")
    ],
    pipeline: Annotated[str | None, typer.Option("--pipeline", help="Look in this pipeline only.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a model was made of, or where an upload went."""
    stack = Stack.connect(context)
    if (found := find_model(stack, target, pipeline)) is not None:
        model = model_lineage(stack.ledger, stack.store, *found)
        print_json(model) if as_json else console.print(_model_page(model), crop=False)
        return
    upload = upload_lineage(stack.ledger, stack.store, *find_upload(stack, target, pipeline))
    print_json(upload) if as_json else console.print(_upload_page(upload))


def _model_page(found: ModelLineage) -> RenderableType:
    model = found.model
    serves = ("serves now", "bold green") if found.serving else ("does not serve", "dim")
    hyperparameters = {k: v for k, v in model.hyperparameters.items() if not k.startswith(_SCRIPT_MODE)}
    facts = (
        ("pipeline", found.pipeline),
        ("run", f"{model.run_id}, ended {found.run_outcome or 'not yet'}"),
        ("model", model.model_uri),
        ("image", model.image_uri),
        ("training job", model.training_job_name or ""),
        ("hyperparameters", ", ".join(f"{name}={value}" for name, value in sorted(hyperparameters.items()))),
        ("definition", f"{model.definition_id[:12]}  {found.definition_uri or ''}"),
        ("code", found.code.model_uri if found.code else ""),
        ("preprocessing", found.code.preprocess_uri if found.code else ""),
        ("snapshot", f"{model.snapshot_id[:12]}, {len(found.uploads)} uploads"),
        ("score", _score(found)),
        ("decision", model.decision_uri),
        ("model package", found.model_package_arn or ""),
    )
    saw = f"It saw {len(model.saw_withdrawn)} uploads that were withdrawn since." if model.saw_withdrawn else ""
    return stack_of(
        [
            Text.assemble((model.model_name, "bold"), "  ", serves),
            *(_fact(name, value) for name, value in facts if value),
            Text(saw, style="yellow") if saw else None,
            _uploads(found),
            _history(found.champion_history) if found.champion_history else None,
        ]
    )


def _fact(name: str, value: str) -> RenderableType:
    """One line however long it is: addresses are there to be copied."""
    return Text(f"  {name:<16}{value}", no_wrap=True, overflow="ignore")


def _score(found: ModelLineage) -> str:
    judged = found.evaluation
    return f"{judged.metric} {number(judged.candidate)} (threshold {number(judged.threshold)})" if judged else ""


def _uploads(found: ModelLineage) -> RenderableType:
    rows = [
        (
            held.key,
            held.version_id,
            held.upload_id[:12],
            f"{held.rows:,}",
            Text("withdrawn", style="yellow") if held.withdrawn else "",
        )
        for held in found.uploads
    ]
    return table("upload", "version", "sha256", "rows#", "", rows=rows)


def _history(changes: tuple[ChampionChange, ...]) -> RenderableType:
    rows = [(moment(change.since), change.cause, change.previous or "", change.reason) for change in changes]
    return table("champion since", "", "instead of", "why", rows=rows)


def _upload_page(found: UploadLineage) -> RenderableType:
    upload, gone = found.upload, found.withdrawal
    verdicts = [
        (moment(v.judged_at), outcome(v.outcome), f"{v.rows:,}", f"{v.bad_rows:,}", v.data_hash[:12])
        for v in found.verdicts
    ]
    models = [
        (use.model_name, use.run_id, use.outcome, Text("serves now", style="green") if use.serving else "")
        for use in found.models
    ]
    return stack_of(
        [
            Text.assemble((upload.upload_id, "bold"), f"  {found.pipeline}, {upload.size:,} bytes"),
            Text(f"withdrawn {moment(gone.at)} by {gone.by}: {gone.reason}", style="yellow") if gone else None,
            table("object", "version", rows=[(seen.key, seen.version_id) for seen in found.objects]),
            table("judged", "verdict", "rows#", "bad#", "contract", rows=verdicts) if verdicts else None,
            table("model", "run", "gate", "", rows=models) if models else Text("in no model", style="dim"),
        ]
    )
