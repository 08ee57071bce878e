"""Finds what people name by a short word: a model, an upload."""

import re
from collections.abc import Iterator

from cli.errors import CommandError
from cli.stack import Stack
from ratchet.domain.ledger import Model, Upload

_ID = re.compile(r"[0-9a-f]{8,64}")  # enough of an upload's SHA-256 to mean one


def pipelines_of(stack: Stack, pipeline: str | None) -> list[str]:
    """The pipeline asked for, or all; CommandError when there is none of that name."""
    if pipeline is not None:
        return [stack.pipeline(pipeline).pipeline]
    return [state.pipeline for state in stack.ledger.pipelines()]


def find_model(stack: Stack, text: str, pipeline: str | None = None) -> tuple[str, Model] | None:
    """A model by its name, by its run, or by the pipeline that it serves."""
    for name in pipelines_of(stack, pipeline):
        state = stack.pipeline(name)
        champion = state.champion.model_name if state.champion and text == name else None
        run = stack.ledger.run(name, text)
        judged = run.selection.model_name if run and run.selection else None
        if (model := stack.ledger.model(name, champion or judged or text)) is not None:
            return name, model
    return None


def names_upload(text: str) -> bool:
    """Whether the text can be an upload's id or key."""
    return _ID.fullmatch(text) is not None or _key(text).startswith("incoming/")


def find_upload(stack: Stack, text: str, pipeline: str | None = None) -> tuple[str, Upload]:
    """An upload by its id (eight characters are enough) or by the object key it came under."""
    found = list(_uploads(stack, text, pipeline))
    if len(found) == 1:
        return found[0]
    if not found:
        raise CommandError(
            f"The stack {stack.name} knows no model and no upload {text}. Name a model (`ratchet runs`), "
            "an upload's id, or its key such as incoming/traffic/may.csv."
        )
    several = "".join(f"\n  {upload.upload_id}  {name}  {upload.key}" for name, upload in found)
    raise CommandError(f"{text} means several uploads. Name one by its id, with --pipeline if need be:{several}")


def _key(text: str) -> str:
    return re.sub(r"^s3://[^/]+/", "", text)


def _uploads(stack: Stack, text: str, pipeline: str | None) -> Iterator[tuple[str, Upload]]:
    key = _key(text)
    for name in pipelines_of(stack, pipeline):
        if _ID.fullmatch(text):
            yield from ((name, upload) for upload in stack.ledger.uploads(name, text))
        elif key.startswith("incoming/"):
            ids = {upload_id for (seen, _), upload_id in stack.ledger.objects(name).items() if seen == key}
            yield from ((name, upload) for upload_id in sorted(ids) for upload in stack.ledger.uploads(name, upload_id))
