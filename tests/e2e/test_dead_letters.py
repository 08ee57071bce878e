"""What fails for good is kept, rings an alarm, and is put back by `ratchet dlq` once its cause is mended."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from cli.listen import Listener
from cli.stack import Stack
from tests.e2e.once import Tiny, files, until
from tests.e2e.removing import without

LETTERS = 50


def letters(ratchet: Callable[..., Result], pipeline: str) -> list[dict[str, Any]]:
    """The ingest queue's letters about a pipeline; other tests have letters of their own."""
    listed = ratchet("dlq", "list", "--queue", "ingest", "--json")
    assert listed.exit_code == 0, listed.output
    found = json.loads(listed.stdout)
    return [letter for letter in found if letter["about"].startswith(f"incoming/{pipeline}/")]


@pytest.mark.slow
def test_fifty_dead_letters_ring_and_are_processed_once_when_they_are_redriven(
    stack: Stack, people: Listener, ratchet: Callable[..., Result], tmp_path: Path
) -> None:
    tiny = Tiny("redriven", stack, tmp_path)
    tiny.apply("retrain.on_upload=false")
    with without(stack, "ValidateDataFunctionRole", "s3:GetObjectVersion"):
        tiny.put(files(range(LETTERS)))
        kept = until(lambda: found if len(found := letters(ratchet, tiny.name)) == LETTERS else None, 240)
        assert people.hear("ALARM", "DeadLettersAlarm", "docs/runbook.md#dead-letters", timeout=60)
    assert {letter["origin"] for letter in kept} == {stack.outputs.ingest_state_machine_arn}
    assert stack.ledger.objects(tiny.name) == {}

    one, *others = [letter["id"] for letter in kept]
    assert ratchet("dlq", "drop", one, "--reason", "the sender took it back").exit_code == 0
    assert ratchet("dlq", "redrive", *others).exit_code == 0

    seen = tiny.await_objects(LETTERS)
    assert len(set(seen.values())) == LETTERS
    until(lambda: len(stack.ledger.verdicts(tiny.name)) == LETTERS - 1 or None)
    state = stack.pipeline(tiny.name)
    assert state.work_seq == 1 + (LETTERS - 1) + 1, "the definition, the accepted uploads once each, the withdrawal"
    assert letters(ratchet, tiny.name) == []
    assert len(stack.ledger.withdrawals(tiny.name)) == 1
    assert json.loads(ratchet("audit", tiny.name, "--json").stdout)["findings"] == []
