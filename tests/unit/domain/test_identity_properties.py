"""What makes work the same, sentence by sentence of the design, over generated inputs."""

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from cli.bundles import model_bundle, script_bundle
from cli.definition import read_definition
from ratchet.adapters.memory_ledger import MemoryLedger
from ratchet.domain import identity
from ratchet.domain.definition import CompiledDefinition
from ratchet.domain.ledger import Upload
from tests.unit import samples

CONTENT = st.binary(max_size=2_000)
HYPERPARAMETERS = st.dictionaries(
    st.sampled_from(["max_depth", "eta", "subsample", "gamma"]),
    st.integers(0, 50) | st.floats(0, 1, allow_nan=False),
    max_size=4,
)
SNAPSHOT = "5" * 64
_FOLDER = TemporaryDirectory()  # one for all examples: a fixture would live for one test only


def cut(content: bytes, places: list[int]) -> list[bytes]:
    """The content in pieces, as a stream may deliver it."""
    edges = [0, *sorted(place % (len(content) + 1) for place in places), len(content)]
    return [content[start:end] for start, end in pairwise(edges)]


def train_key(compiled: CompiledDefinition, hyperparameters: dict[str, Any]) -> str:
    return identity.train_key(identity.preprocess_key(SNAPSHOT, compiled), compiled, hyperparameters)


@given(content=CONTENT, places=st.lists(st.integers(0, 10_000), max_size=5))
def test_the_same_bytes_are_the_same_upload_however_they_arrive(content: bytes, places: list[int]) -> None:
    assert identity.upload_id(cut(content, places)) == identity.upload_id([content])


@given(one=CONTENT, other=CONTENT)
def test_other_bytes_are_another_upload(one: bytes, other: bytes) -> None:
    assume(one != other)
    assert identity.upload_id([one]) != identity.upload_id([other])


@given(names=st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=10, unique=True))
def test_the_same_bytes_under_other_names_are_one_upload_with_one_precedence(names: list[str]) -> None:
    ledger = MemoryLedger()
    first = samples.upload(1, f"incoming/traffic/{names[0]}")
    for minute, name in enumerate(names):
        moved = {"key": f"incoming/traffic/{name}", "modified": first.modified + timedelta(minutes=minute)}
        assert ledger.record_object("traffic", first.model_copy(update=moved)).precedence == first.precedence
    assert ledger.uploads("traffic") == [first]
    assert len(ledger.objects("traffic")) == len(names)


@given(count=st.integers(1, 12), seed=st.randoms(use_true_random=False), doubled=st.booleans())
def test_the_order_of_delivery_never_matters(count: int, seed: random.Random, doubled: bool) -> None:
    """Any order of verdicts, each once or twice, gives one snapshot; precedence is the bucket's own order."""

    def snapshot(order: list[int]) -> tuple[str, list[int]]:
        ledger = MemoryLedger()
        ledger.apply_definition("traffic", samples.definition_ref())
        for number in order:
            ledger.record_object("traffic", samples.upload(number))
            ledger.accept("traffic", samples.verdict(number))
        held = ledger.accepted("traffic", samples.definition_ref().data_hash)
        return identity.snapshot_id([v.verdict_id for v in held]), [v.rows // 10 for v in held]

    numbers = list(range(1, count + 1))
    shuffled = numbers * (2 if doubled else 1)
    seed.shuffle(shuffled)
    assert snapshot(shuffled) == snapshot(numbers)
    assert snapshot(shuffled)[1] == numbers


@given(moments=st.lists(st.integers(0, 3), min_size=2, max_size=8))
def test_precedence_is_total_also_among_uploads_of_one_second(moments: list[int]) -> None:
    seen = [
        samples.upload(n).model_copy(update={"modified": datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)})
        for n, second in enumerate(moments, start=1)
    ]
    orders = [sorted(some, key=lambda upload: upload.precedence) for some in (seen, seen[::-1])]
    assert orders[0] == orders[1]
    assert len({upload.precedence for upload in seen}) == len(seen)


@given(
    versions=st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc")), min_size=1, max_size=6, unique=True),
    seed=st.randoms(use_true_random=False),
)
def test_of_versions_of_the_same_bytes_the_oldest_is_kept_in_any_order(
    versions: list[tuple[int, str]], seed: random.Random
) -> None:
    """Also of versions of one second, on which the key decides."""

    def kept(order: list[tuple[int, str]]) -> Upload:
        ledger = MemoryLedger()
        for second, name in order:
            older = {"modified": samples.NOW + timedelta(seconds=second), "version_id": f"v{second}"}
            ledger.record_object("traffic", samples.upload(1, name).model_copy(update=older))
        (upload,) = ledger.uploads("traffic")
        return upload

    shuffled = list(versions)
    seed.shuffle(shuffled)
    assert kept(shuffled) == kept(versions)
    assert kept(versions).key == min(versions)[1]


@given(bad=st.floats(0, 1, allow_nan=False), rows=st.integers(1, 10_000), upload=st.binary(max_size=50))
def test_a_corrected_contract_judges_the_same_file_anew_and_an_equal_one_does_not(
    bad: float, rows: int, upload: bytes
) -> None:
    data = samples.definition().data
    corrected = data.model_copy(update={"max_bad_rows": bad, "min_rows": rows})
    verdicts = [
        identity.verdict_id(identity.upload_id([upload]), identity.data_hash(section)) for section in (data, corrected)
    ]
    assert (verdicts[0] == verdicts[1]) == (data == corrected)


@given(one=HYPERPARAMETERS, other=HYPERPARAMETERS)
def test_a_changed_hyperparameter_changes_the_train_key_and_not_the_preprocess_key(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = (samples.compiled(train={"hyperparameters": chosen}) for chosen in (one, other))
    assert identity.preprocess_key(SNAPSHOT, first) == identity.preprocess_key(SNAPSHOT, second)
    same = identity.canonical_json(one) == identity.canonical_json(other)
    assert (train_key(first, one) == train_key(second, other)) is same


@given(comment=st.text(st.characters(categories=("L", "N", "P", "Zs")), max_size=60), indent=st.integers(2, 6))
def test_a_changed_comment_or_layout_in_yaml_changes_nothing(comment: str, indent: int) -> None:
    document = samples.definition().model_dump(mode="json")
    plain = yaml.safe_dump(document, sort_keys=False)
    other = yaml.safe_dump(document, sort_keys=True, indent=indent, allow_unicode=True)
    commented = f"# {comment}\n{other}# {comment}\n"
    ids = []
    for text in (plain, commented):
        folder = Path(_FOLDER.name)
        (folder / "pipeline.yaml").write_text(text)
        compiled = samples.compiled().model_copy(update={"definition": read_definition(folder)})
        ids.append(identity.definition_id(compiled))
    assert ids[0] == ids[1] == identity.definition_id(samples.compiled())


@given(line=st.binary(min_size=1, max_size=40))
def test_a_changed_line_of_code_or_another_image_makes_other_work(line: bytes) -> None:
    folder = Path(_FOLDER.name) / "jobs"
    folder.mkdir(exist_ok=True)
    hashes = []
    for content in (b"x = 1\n", b"x = 1\n" + line):
        (folder / "train.py").write_bytes(content)
        hashes.append((model_bundle(folder).sha256, script_bundle(folder / "train.py").sha256))
    (model, script), (other_model, other_script) = hashes
    assert model != other_model
    assert script != other_script
    own = samples.compiled()
    changes: dict[str, dict[str, Any]] = {
        "job code": {"code": own.code.model_copy(update={"model_sha256": other_model})},
        "Glue code": {"code": own.code.model_copy(update={"preprocess_sha256": other_script})},
        "image": {"image_uri": f"{own.image_uri}-{line.hex()}"},
    }
    for what, change in changes.items():
        changed = own.model_copy(update=change)
        assert identity.definition_id(changed) != identity.definition_id(own), what
        assert train_key(changed, {}) != train_key(own, {}), what
        same_rows = identity.preprocess_key(SNAPSHOT, changed) == identity.preprocess_key(SNAPSHOT, own)
        assert same_rows is (what != "Glue code")


@pytest.mark.parametrize("name", ["train.py", "features.py", "inference.py"])
def test_every_file_of_the_model_code_counts(name: str, tmp_path: Path) -> None:
    for file in ("train.py", "features.py", "inference.py"):
        (tmp_path / file).write_text("x = 1\n")
    before = model_bundle(tmp_path).sha256
    (tmp_path / name).write_text("x = 2\n")
    assert model_bundle(tmp_path).sha256 != before
