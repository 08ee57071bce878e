"""What makes work the same, and what does not."""

import re

import pytest

from ratchet.domain import identity
from ratchet.domain.definition import CompiledDefinition
from tests.unit import samples

SNAPSHOT = "5" * 64


def changed(**changes: dict[str, object]) -> CompiledDefinition:
    """The sample with one section's fields changed."""
    document = samples.compiled().model_dump(mode="json")
    for section, fields in changes.items():
        target = document if section == "compiled" else document["definition"].get(section, document.get(section))
        target.update(fields)
    return CompiledDefinition.model_validate(document)


def test_an_upload_is_its_bytes_however_they_are_cut() -> None:
    assert identity.upload_id([b"a,b\n", b"1,2\n"]) == identity.upload_id([b"a,b\n1,2\n"])
    assert re.fullmatch(r"[0-9a-f]{64}", identity.upload_id([]))


def test_key_order_is_nothing_and_list_order_is_something() -> None:
    assert identity.content_hash({"a": 1, "b": 2}) == identity.content_hash({"b": 2, "a": 1})
    assert identity.snapshot_id(["1", "2"]) != identity.snapshot_id(["2", "1"])


def test_nan_has_no_canonical_form() -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        identity.canonical_json({"score": float("nan")})


def test_a_corrected_contract_judges_the_same_upload_anew() -> None:
    old, new = (identity.data_hash(d.definition.data) for d in (changed(), changed(data={"min_rows": 5})))
    assert identity.verdict_id("u", old) != identity.verdict_id("u", new)
    assert identity.verdict_id("u", old) == identity.verdict_id("u", old)


@pytest.mark.parametrize(
    ("change", "preprocess_changes", "train_changes"),
    [
        ({"gate": {"holdout": "14d"}}, True, True),
        ({"gate": {"season": "1d"}}, True, True),
        ({"data": {"max_bad_rows": 0.5}}, True, True),
        ({"code": {"preprocess_sha256": "9" * 64}}, True, True),
        ({"code": {"wheel_sha256": "9" * 64}}, True, True),
        ({"code": {"model_sha256": "9" * 64}}, False, True),
        ({"compiled": {"image_uri": "other"}}, False, True),
        ({"features": {"calendar": ["hour"]}}, False, True),
        ({"compiled": {"holidays": {"US": ["2026-01-01"]}}}, False, True),
        ({"gate": {"metric": "mae"}}, False, True),
        ({"data": {"series": ["weather_main"]}}, True, True),
        ({"gate": {"threshold": 0.5}}, False, False),
        ({"deploy": {"memory_mb": 4096}}, False, False),
        ({"retrain": {"settle": "5s"}}, False, False),
        ({"code": {"model_uri": "s3://elsewhere/model.tar.gz"}}, False, False),
        ({"train": {"max_runtime": "2h"}}, False, False),
    ],
)
def test_a_step_key_follows_what_can_change_the_step_and_nothing_else(
    change: dict[str, dict[str, object]], preprocess_changes: bool, train_changes: bool
) -> None:
    before, after = changed(), changed(**change)
    preprocess = [identity.preprocess_key(SNAPSHOT, d) for d in (before, after)]
    train = [identity.train_key(key, d, {"max_depth": 8}) for key, d in zip(preprocess, (before, after), strict=True)]
    assert (preprocess[0] != preprocess[1]) is preprocess_changes
    assert (train[0] != train[1]) is train_changes
    assert identity.definition_id(before) != identity.definition_id(after)


def test_hyperparameters_and_rows_make_another_model() -> None:
    compiled = changed()
    keys = {
        identity.train_key("1" * 64, compiled, {"max_depth": 8}),
        identity.train_key("1" * 64, compiled, {"max_depth": 4}),
        identity.train_key("2" * 64, compiled, {"max_depth": 8}),
    }
    assert len(keys) == 3


def test_the_longest_names_fit_sagemaker_with_their_retry_and_stay_different() -> None:
    run = identity.run_id("a" * 24, 123_456)
    steps = [f"score-{role}" for role in ("candidate", "champion")] + ["c1", "c12"]
    names = [identity.job_name("ratchet-staging", run, step) for step in steps]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", f"{name}-10") for name in names)
    assert len(identity.model_name("ratchet-staging", run)) <= 63


def test_an_endpoint_names_its_pipeline_and_a_foreign_one_none() -> None:
    assert identity.pipeline_of_endpoint("ratchet-dev", identity.endpoint_name("ratchet-dev", "traffic")) == "traffic"
    assert identity.pipeline_of_endpoint("ratchet-dev", "ratchet-prod-traffic") is None
