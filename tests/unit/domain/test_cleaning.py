"""Clean up: what the sweep does with what the rule found, and what people are told."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from ratchet.domain.cleaning import CleanUp
from ratchet.domain.errors import DependencyBusyError
from ratchet.domain.idling import LiveEndpoint, Named
from tests.unit import samples
from tests.unit.world import ENDPOINT as SERVERLESS
from tests.unit.world import World

ENDPOINT = f"{SERVERLESS}-Instance"
TAGS = {"ratchet:pipeline": "traffic"}


@dataclass
class Hosted:
    """What SageMaker and CloudWatch tell."""

    live: list[LiveEndpoint] = field(default_factory=list)
    named: list[Named] = field(default_factory=list)
    traffic: dict[str, float] = field(default_factory=dict)
    asked: list[tuple[str, timedelta]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    busy: bool = False

    def endpoints(self, prefix: str) -> list[LiveEndpoint]:
        return self.live

    def invocations(self, endpoint_name: str, since: datetime, until: datetime) -> float:
        self.asked.append((endpoint_name, until - since))
        return self.traffic.get(endpoint_name, 0.0)

    def configs(self, prefix: str) -> list[Named]:
        return self.named

    def models(self, prefix: str) -> list[Named]:
        return self.named

    def delete_config(self, name: str) -> bool:
        if self.busy:
            raise DependencyBusyError("throttled")
        self.gone.append(f"config {name}")
        return True

    def delete_model(self, name: str) -> bool:
        self.gone.append(f"model {name}")
        return True


@pytest.fixture
def world() -> World:
    world = World()
    world.apply(deploy={"mode": "instance", "instances": 2, "idle_after": "12h"})
    world.accept()
    world.deployed()
    return world


def endpoint(world: World, **changes: object) -> LiveEndpoint:
    made = world.clock() - timedelta(days=1)
    facts = {
        "config_name": "c",
        "status": "InService",
        "changed": made,
        "tags": TAGS,
        "instances": [("ml.m5.large", 2)],
    }
    return LiveEndpoint(ENDPOINT, **{**facts, **changes})  # type: ignore[arg-type]


def clean_up(world: World, hosted: Hosted) -> CleanUp:
    return CleanUp(world.ledger, world.store, hosted, world.endpoints, world.publisher, world.clock, samples.PREFIX)


def test_an_idle_champion_is_put_to_sleep_and_people_learn_what_it_saves(world: World) -> None:
    hosted = Hosted([endpoint(world)])
    report = clean_up(world, hosted)(dry_run=False)
    assert hosted.asked == [(ENDPOINT, timedelta(hours=12))]
    assert [gone.name for gone in report.endpoints] == [ENDPOINT]
    assert report.hourly_dollars == pytest.approx(0.23)
    assert world.endpoints.calls[-1] == f"delete {ENDPOINT}"
    assert ENDPOINT not in world.endpoints.live
    state = world.ledger.pipeline("traffic")
    assert state is not None
    assert state.asleep_since == world.clock()
    assert state.champion is not None
    ((kind, told),) = world.publisher.announced
    assert kind == "Endpoint Deleted"
    assert "nobody asked it for 12h; that saves $0.23 an hour, $168 a month" in told.sentence
    assert told.links == {"start it now": "ratchet wake traffic"}
    assert world.reconcile().restored == ()


def test_a_dry_run_changes_nothing(world: World) -> None:
    hosted = Hosted([endpoint(world)], [Named(f"{samples.PREFIX}-old", samples.NOW - timedelta(days=9), TAGS)])
    before = list(world.endpoints.calls)
    report = clean_up(world, hosted)(dry_run=True)
    assert (len(report.endpoints), report.deleted) == (1, 0)
    assert (report.configs, report.models) == ((f"{samples.PREFIX}-old",), (f"{samples.PREFIX}-old",))
    assert (hosted.gone, world.publisher.announced, world.endpoints.calls) == ([], [], before)


def test_an_endpoint_that_is_asked_stays(world: World) -> None:
    hosted = Hosted([endpoint(world)], traffic={ENDPOINT: 1.0})
    assert clean_up(world, hosted)(dry_run=False).endpoints == ()


def test_a_run_that_takes_the_pipeline_meanwhile_keeps_its_endpoint(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.ledger, "put_to_sleep", lambda *_: False)
    calls = list(world.endpoints.calls)
    assert clean_up(world, Hosted([endpoint(world)]))(dry_run=False).endpoints == ()
    assert world.endpoints.calls == calls


def test_models_beyond_the_last_three_champions_go(world: World) -> None:
    for share in (0.045, 0.04, 0.035, 0.03):
        world.accept()
        world.deployed(share)
    names = [f"{samples.PREFIX}-traffic-g{fence}" for fence in range(1, 6)]
    items = [Named(name, samples.NOW - timedelta(days=9), TAGS, [name]) for name in names]
    hosted = Hosted([], items)
    report = clean_up(world, hosted)(dry_run=False)
    assert report.configs == report.models == tuple(names[:2])
    ((kind, told),) = world.publisher.announced
    assert (kind, told.numbers) == ("Leftovers Deleted", {"deleted": 4.0, "dollars a month": 0.0})


def test_what_is_busy_waits_for_the_next_sweep(world: World) -> None:
    hosted = Hosted([], [Named(f"{samples.PREFIX}-old", samples.NOW - timedelta(days=9), TAGS)], busy=True)
    report = clean_up(world, hosted)(dry_run=False)
    assert (report.configs, report.waiting) == ((), (f"{samples.PREFIX}-old: throttled",))
    assert report.models == (f"{samples.PREFIX}-old",)


def test_a_young_or_endless_endpoint_is_not_even_measured(world: World) -> None:
    hosted = Hosted([endpoint(world, changed=world.clock() - timedelta(hours=11)), endpoint(world, instances=[])])
    clean_up(world, hosted)(dry_run=False)
    assert hosted.asked == []
