"""A champion's endpoint sleeps and wakes in the ledger, and the champion stays what it is."""

from datetime import timedelta

import pytest

from ratchet.contracts.run import RunOutcome
from ratchet.domain.errors import PipelineUnknownError
from ratchet.domain.ledger import Claim, Ledger
from tests.unit import samples
from tests.unit.samples import NOW


@pytest.fixture
def served(ledger: Ledger) -> Ledger:
    """A pipeline whose first run became champion."""
    ledger.apply_definition("traffic", samples.definition_ref())
    run = ledger.claim("traffic", "upload", False, samples.execution_arn, NOW)
    assert run is not None
    claim = Claim(pipeline="traffic", fence=run.fence, execution_arn=run.execution_arn)
    ended = run.model_copy(update={"outcome": RunOutcome.DEPLOYED, "ended_at": NOW})
    ledger.close(claim, ended, samples.champion())
    return ledger


def asleep(ledger: Ledger) -> bool:
    state = ledger.pipeline("traffic")
    assert state is not None
    assert state.champion == samples.champion()
    return state.asleep_since is not None


def test_it_sleeps_and_wakes(served: Ledger) -> None:
    assert served.put_to_sleep("traffic", samples.champion().model_name, NOW)
    assert asleep(served)
    served.wake("traffic")
    served.wake("traffic")
    assert not asleep(served)


def test_it_does_not_sleep_while_a_run_owns_the_pipeline_or_when_another_serves(served: Ledger) -> None:
    assert not served.put_to_sleep("traffic", "another", NOW)
    served.claim("traffic", "manual", True, samples.execution_arn, NOW + timedelta(minutes=1))
    assert not served.put_to_sleep("traffic", samples.champion().model_name, NOW)
    assert not asleep(served)


def test_nobody_wakes_what_was_never_applied(ledger: Ledger) -> None:
    with pytest.raises(PipelineUnknownError):
        ledger.wake("nobody")
