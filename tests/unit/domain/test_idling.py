"""Which endpoints are idle: thirty of every kind by hand, and the rule's promises for any."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.domain.idling import Limits, LiveEndpoint, Named, Pipeline, View, idle, is_ours, leftovers

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PREFIX = "ratchet-dev-1a2b3c4d"
LIMITS = Limits(min_age=timedelta(hours=1), unknown_after=timedelta(hours=24), most=10)
HALF_DAY = timedelta(hours=12)


def pipeline(name: str, **changes: Any) -> Pipeline:
    return Pipeline(name, HALF_DAY, owned=False)._replace(**changes)


PIPELINES = {
    p.name: p
    for p in (
        *(pipeline(f"idle{number}") for number in range(6)),
        *(pipeline(f"asked{number}") for number in range(4)),
        *(pipeline(f"young{number}") for number in range(3)),
        pipeline("hasty", idle_after=timedelta(minutes=5)),
        pipeline("eternal", idle_after=None),
        pipeline("running", owned=True),
        pipeline("guarded"),
        pipeline("cheap"),
        pipeline("changing"),
        pipeline("blind"),
    )
}


def endpoint(pipeline_name: str, **changes: Any) -> LiveEndpoint:
    """Idle for two days on one instance, and ours."""
    tags = {"ratchet:pipeline": pipeline_name}
    made = LiveEndpoint(
        f"{PREFIX}-{pipeline_name}",
        "config",
        "InService",
        NOW - timedelta(days=2),
        tags,
        (("ml.m5.large", 1),),
        0.0,
    )
    return made._replace(**changes)


def thirty() -> tuple[list[LiveEndpoint], set[str]]:
    """Thirty endpoints of mixed age, traffic, tag and owner, and the names of those that must go."""
    doomed = [
        *(endpoint(f"idle{number}") for number in range(4)),
        endpoint("idle4", changed=NOW - HALF_DAY),
        endpoint("idle5", instances=(("ml.m5.xlarge", 2), ("ml.m5.large", 1))),
        endpoint("gone"),  # its pipeline was deleted
        endpoint("idle0", name=f"{PREFIX}-idle0-try", status="Failed"),  # no pipeline's own endpoint
    ]
    safe = [
        *(endpoint(f"asked{number}", invocations=1.0 + number) for number in range(4)),
        *(endpoint(f"young{number}", changed=NOW - timedelta(hours=1 + 5 * number)) for number in range(3)),
        endpoint("hasty", changed=NOW - timedelta(minutes=59)),
        endpoint("eternal"),
        endpoint("running"),
        endpoint("guarded", tags={"ratchet:pipeline": "guarded", "ratchet:protect": ""}),
        endpoint("cheap", instances=()),
        endpoint("changing", status="Updating"),
        endpoint("blind", invocations=None),
        endpoint("idle0", name=f"{PREFIX}-late-try", changed=NOW - timedelta(hours=23)),
        endpoint("idle1", name="somebody-elses"),
        endpoint("idle1", name=f"{PREFIX}-untagged", tags={}),
        endpoint("idle1", name=f"{PREFIX}-stranger", tags={"owner": "others"}),
        endpoint("idle2", name="ratchet-dev-99999999-idle2"),  # another stack's of the same stage
        endpoint("idle3", name=f"{PREFIX}x-idle3"),
        endpoint("idle3", name=f"{PREFIX}-rolling", status="RollingBack"),
        endpoint("idle3", name=f"{PREFIX}-new", status="Creating"),
    ]
    assert len(doomed) + len(safe) == 30
    return [*safe, *doomed], {found.name for found in doomed}


def swept(endpoints: Sequence[LiveEndpoint], limits: Limits = LIMITS) -> set[str]:
    return {found.name for found in idle(endpoints, View(PIPELINES, PREFIX, NOW, limits))[0]}


def test_of_thirty_endpoints_exactly_the_right_ones_go() -> None:
    endpoints, doomed = thirty()
    assert swept(endpoints) == doomed


def test_an_endpoint_spared_though_idle_says_why() -> None:
    spared = idle(thirty()[0], View(PIPELINES, PREFIX, NOW, LIMITS))[1]
    assert spared == {
        f"{PREFIX}-guarded": "it carries the tag ratchet:protect",
        f"{PREFIX}-running": "a run owns its pipeline",
    }


def test_a_sweep_takes_the_dearest_first_and_no_more_than_it_may() -> None:
    found, spared = idle(thirty()[0], View(PIPELINES, PREFIX, NOW, LIMITS._replace(most=2)))
    assert [endpoint.name for endpoint in found] == [f"{PREFIX}-idle5", f"{PREFIX}-gone"]
    assert list(spared.values()).count("one sweep deletes 2 endpoints at most") == 6


def test_a_short_idle_after_is_stretched_to_the_minimum_age() -> None:
    assert swept([endpoint("hasty", changed=NOW - timedelta(minutes=60))]) == {f"{PREFIX}-hasty"}


NAMES = st.sampled_from([*PIPELINES, "gone", "nobody"])
ENDPOINTS = st.builds(
    LiveEndpoint,
    name=st.one_of(NAMES.map(lambda name: f"{PREFIX}-{name}"), st.sampled_from(["other-x", f"{PREFIX}-try"])),
    config_name=st.just("config"),
    status=st.sampled_from(["InService", "Creating", "Updating", "RollingBack", "Failed", "Deleting", "OutOfService"]),
    changed=st.timedeltas(timedelta(0), timedelta(days=3)).map(lambda age: NOW - age),
    tags=st.fixed_dictionaries(
        {}, optional={"ratchet:pipeline": NAMES, "ratchet:protect": st.just("yes"), "team": st.just("x")}
    ),
    instances=st.lists(st.tuples(st.sampled_from(["ml.m5.large", "ml.new.kind"]), st.integers(1, 3)), max_size=2),
    invocations=st.none() | st.just(0.0) | st.floats(0.5, 1e6),
)


@given(st.lists(ENDPOINTS, max_size=30), st.integers(0, 12))
def test_whatever_the_endpoints_nothing_in_use_young_protected_or_foreign_goes(
    endpoints: list[LiveEndpoint], most: int
) -> None:
    found, _ = idle(endpoints, View(PIPELINES, PREFIX, NOW, LIMITS._replace(most=most)))
    assert len(found) <= most
    for gone in found:
        owner = PIPELINES.get(gone.tags["ratchet:pipeline"])
        assert gone in endpoints
        assert gone.invocations == 0
        assert NOW - gone.changed >= LIMITS.min_age
        assert is_ours(gone.name, gone.tags, PREFIX)
        assert "ratchet:protect" not in gone.tags
        assert gone.instances
        assert gone.status not in ("Creating", "Updating", "RollingBack", "Deleting")
        assert owner is None or not owner.owned


@given(st.lists(ENDPOINTS, max_size=30, unique_by=lambda endpoint: endpoint.name))
def test_whatever_the_endpoints_every_idle_one_goes_in_time(endpoints: list[LiveEndpoint]) -> None:
    """Sweep after sweep, nothing is left that a boundless sweep would take."""
    wanted = swept(endpoints, LIMITS._replace(most=1_000))
    left = list(endpoints)
    for _ in endpoints:
        gone = swept(left, LIMITS._replace(most=3))
        left = [kept for kept in left if kept.name not in gone]
    assert {kept.name for kept in endpoints} - {kept.name for kept in left} == wanted


def named(name: str, pipeline_name: str = "idle0", age: float = 48, models: Sequence[str] = ()) -> Named:
    return Named(f"{PREFIX}-{name}", NOW - timedelta(hours=age), {"ratchet:pipeline": pipeline_name}, models)


@pytest.fixture
def kept() -> dict[str, Pipeline]:
    return {
        "idle0": pipeline("idle0", kept=[f"{PREFIX}-idle0-g{number}" for number in (5, 7, 9)]),
        "running": pipeline("running", owned=True),
    }


def test_configurations_and_models_of_champions_stay_and_all_others_go(kept: dict[str, Pipeline]) -> None:
    items = [
        *(named(f"idle0-g{number}", models=[f"{PREFIX}-idle0-g{number}"]) for number in range(1, 11)),
        named("running-g3", "running"),
        named("gone-g1", "gone"),
        named("idle0-g11", age=0.5),
        named("idle0-g12")._replace(tags={"ratchet:pipeline": "idle0", "ratchet:protect": "yes"}),
        Named("foreign", NOW - timedelta(days=9), {"ratchet:pipeline": "idle0"}),
        Named(f"{PREFIX}-untagged", NOW - timedelta(days=9), {}),
    ]
    in_use = [f"{PREFIX}-idle0-g10"]
    configs, models = leftovers(items, items, in_use, View(kept, PREFIX, NOW, LIMITS))
    doomed = {f"{PREFIX}-idle0-g{number}" for number in (1, 2, 3, 4, 6, 8)} | {f"{PREFIX}-gone-g1"}
    assert {config.name for config in configs} == doomed
    assert {model.name for model in models} == doomed


def test_a_model_that_a_kept_configuration_names_stays(kept: dict[str, Pipeline]) -> None:
    config = named("idle0-g5", models=[f"{PREFIX}-idle0-shared"])
    assert leftovers([config], [named("idle0-shared")], [], View(kept, PREFIX, NOW, LIMITS)) == ([], [])


def test_leftovers_go_oldest_first_and_no_more_than_a_sweep_may(kept: dict[str, Pipeline]) -> None:
    items = [named(f"idle0-g{number}", age=10 + number) for number in range(20, 30)]
    configs, models = leftovers(items, items, [], View(kept, PREFIX, NOW, LIMITS._replace(most_leftovers=3)))
    assert [config.name for config in configs] == [f"{PREFIX}-idle0-g{number}" for number in (29, 28, 27)]
    assert [model.name for model in models] == [config.name for config in configs]
