"""Reading pipeline.yaml: every fault names its field and its fix."""

from pathlib import Path

import pytest

from cli.definition import read_definition
from local.cloud.settings import REPOSITORY
from ratchet.domain.errors import DefinitionInvalidError

VALID = """
name: tiny
data:
  target: y
  task: classification
  columns:
    y: {type: string, required: true}
    x: {type: number}
gate: {metric: accuracy, threshold: 0.5, holdout: 0.2}
"""


def write(folder: Path, text: str) -> Path:
    (folder / "pipeline.yaml").write_text(text)
    return folder


def fault(folder: Path, text: str, *settings: str) -> str:
    with pytest.raises(DefinitionInvalidError) as raised:
        read_definition(write(folder, text), settings)
    return str(raised.value)


@pytest.mark.parametrize("folder", sorted((REPOSITORY / "pipelines").iterdir()), ids=lambda folder: folder.name)
def test_every_sample_pipeline_is_valid(folder: Path) -> None:
    assert read_definition(folder).name == folder.name


def test_settings_are_laid_over_the_file(tmp_path: Path) -> None:
    settings = ("retrain.settle=3s", "train.hyperparameters.max_depth=3", "retrain.schedule=null")
    definition = read_definition(write(tmp_path, VALID), settings)
    assert definition.retrain.settle.total_seconds() == 3
    assert definition.train.hyperparameters == {"max_depth": 3}
    assert definition.retrain.schedule is None


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("retrain.settle", "--set retrain.settle is not a setting; write it like retrain.settle=10s"),
        ("retrain..settle=1s", "is not a setting"),
        ("name.first=x", "name has no fields to set"),
        ("retrain.settle=soon", "retrain.settle: 'soon' is not a duration"),
        ("retrain.setle=1s", "retrain.setle: there is no such field; did you mean settle?"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, setting: str, says: str) -> None:
    assert says in fault(tmp_path, VALID, setting)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("target: y", "tarmget: y"), "data.tarmget: there is no such field; did you mean target?"),
        (("target: y", ""), "data.target: this field is required; add it"),
        (("type: number", "type: numbr"), "data.columns.x.type: Input should be"),
        (
            ("{type: number}", "{type: number, minn: 3}"),
            "data.columns.x.minn: there is no such field; did you mean min?",
        ),
        (("threshold: 0.5", "threshold: high"), "gate.threshold: Input should be a valid number"),
        (("target: y", "target: z"), "data: target names the column 'z', which data.columns lacks; add it there"),
        (("metric: accuracy", "metric: rmse"), "gate.metric rmse does not fit data.task classification"),
        (
            ("holdout: 0.2", "holdout: 0.9"),
            "gate.holdout: 0.9 is not a duration; write a whole number and a unit, such as 60s, 5m, 12h or 28d, "
            "or: Input should be less than 0.5 (it is 0.9)",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_fix(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    found = fault(tmp_path, VALID.replace(*change))
    assert says in found
    assert str(tmp_path / "pipeline.yaml") in found


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    found = fault(tmp_path, VALID.replace("target: y", "tarmget: y").replace("threshold: 0.5", "threshold: high"))
    assert found.count("\n  - ") == 3


def test_aliases_are_refused(tmp_path: Path) -> None:
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    assert "line 2: YAML aliases are not allowed" in fault(tmp_path, bomb)


def test_a_key_stated_twice_is_refused(tmp_path: Path) -> None:
    assert "'x' is stated twice" in fault(tmp_path, VALID.replace("x: {type", "x: {type: string}\n    x: {type"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "this is not YAML"),
        ("- a\n- b\n", "the file holds no mapping"),
        ("a: !!python/object/apply:os.system [ls]\n", "this is not YAML"),
        ("# " + "x" * 300_000, "is too long"),
    ],
)
def test_what_is_no_definition_is_refused(tmp_path: Path, text: str, says: str) -> None:
    assert says in fault(tmp_path, text)


def test_a_folder_without_a_definition_is_named(tmp_path: Path) -> None:
    with pytest.raises(DefinitionInvalidError, match=r"There is no pipeline\.yaml in"):
        read_definition(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: " + "[" * 50_000, "its values lie inside each other too deep"),
        ("{a: " * 20_000, "its values lie inside each other too deep"),
        ("name: " + "9" * 5_000, "put it in quotes if it is text"),
        ("name: 2026-13-45", "put it in quotes if it is text"),
        ("a: !!python/object/apply:os.system [ls]", "this is not YAML"),
        ("a: &a [x]\nb: *a", "YAML aliases are not allowed"),
        ("\n".join(f"k{number}: 1" for number in range(20_000)), "and 19983 more fields"),
        ("x" * 300_000, "is too long"),
    ],
    ids=["nested lists", "nested mappings", "huge number", "no such day", "tag", "alias", "fields", "long"],
)
def test_a_hostile_file_is_refused_at_once(tmp_path: Path, text: str, says: str) -> None:
    assert says in fault(tmp_path, text)


def test_a_setting_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    assert "--set train.hyperparameters=[: this is not YAML" in fault(tmp_path, VALID, "train.hyperparameters=[")
