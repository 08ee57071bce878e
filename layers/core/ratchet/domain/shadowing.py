"""A shadow: the champion's requests were copied to the candidate, and their metrics are compared."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from ratchet.contracts.run import ShadowComparison, VariantHealth, Watch
from ratchet.contracts.states import CompareShadowRequest
from ratchet.domain.errors import EventInvalidError, ShadowInconclusiveError, ShadowWorseError, StepOutputMissingError
from ratchet.domain.ledger import Ledger, note
from ratchet.domain.ports import Clock, Endpoints

FEWEST_REQUESTS = 20
MINUTES_KEPT = timedelta(days=15)  # for so long CloudWatch keeps metrics minute by minute


@dataclass(frozen=True)
class CompareShadow:
    """Errors and latency of the two variants; the candidate's answers are the golden rows' subject, not this one's."""

    ledger: Ledger
    endpoints: Endpoints
    clock: Clock

    def __call__(self, request: CompareShadowRequest) -> ShadowComparison:
        shadow, rollout = request.shadow, request.plan.rollout
        if shadow.started_at is None or rollout is None:
            raise StepOutputMissingError("shadow.started_at and plan.rollout: a shadow has both")
        since, now = shadow.started_at, self.clock()
        _check_measured(since, now)
        both = shadow.endpoint_name, shadow.endpoint_config_name
        champion = self.endpoints.health(*both, since, now, shadow=False)
        candidate = self.endpoints.health(*both, since, now, shadow=True)
        found = worse(champion, candidate, rollout.watch)
        comparison = ShadowComparison(
            champion=champion,
            candidate=candidate,
            seconds=(now - since).total_seconds(),
            sentence=_sentence(champion, candidate, found),
        )
        note(self.ledger, request.run, comparison=comparison)
        if found:
            raise ShadowWorseError(comparison.sentence)
        if candidate.requests < FEWEST_REQUESTS:
            raise ShadowInconclusiveError(
                f"the candidate got {candidate.requests} requests; {FEWEST_REQUESTS} are the least to compare"
            )
        return comparison


def _check_measured(since: datetime, now: datetime) -> None:
    if not timedelta(0) <= now - since <= MINUTES_KEPT:
        raise EventInvalidError(
            f"shadow.started_at: {since.isoformat()} is not within the {MINUTES_KEPT.days} days before "
            f"{now.isoformat(timespec='seconds')}, of which there are metrics for each minute"
        )


def worse(champion: VariantHealth, candidate: VariantHealth, watch: Watch) -> list[str]:
    """In what the candidate is beyond both the alarms' bounds and the champion."""
    found = []
    for name, bound in (("errors_5xx", watch.errors_5xx), ("errors_4xx", watch.errors_4xx)):
        rate, theirs = _rate(candidate, name), _rate(champion, name)
        if rate > bound and rate > theirs:
            found.append(f"{name} {rate:.1%} against {theirs:.1%}, at most {bound:.1%}")
    latency = candidate.latency_p99_ms
    if latency > watch.latency_p99_ms and latency > champion.latency_p99_ms:
        found.append(f"p99 {latency:.0f} ms against {champion.latency_p99_ms:.0f} ms, at most {watch.latency_p99_ms:g}")
    return found


def _rate(health: VariantHealth, errors: str) -> float:
    return float(getattr(health, errors)) / health.requests if health.requests else 0.0


def _sentence(champion: VariantHealth, candidate: VariantHealth, found: list[str]) -> str:
    if found:
        return f"the candidate served its copies worse: {'; '.join(found)}"
    return (
        f"{candidate.requests} copies: {candidate.error_rate:.1%} errors and p99 {candidate.latency_p99_ms:.0f} ms, "
        f"the champion's {champion.requests} requests {champion.error_rate:.1%} and {champion.latency_p99_ms:.0f} ms"
    )
