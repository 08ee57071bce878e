"""How batch transform cuts, filters, joins and counts records."""

import gzip
import json
from typing import Any

import pytest

from local.sagemaker.jsonpath import Path, PathError
from local.sagemaker.records import Cutter, Joiner
from local.sagemaker.s3 import DataError

JSONLINES = "application/jsonlines"


def job(
    split: str = "Line", kind: str = JSONLINES, accept: str | None = None, assemble: str = "Line", **fields: Any
) -> dict[str, Any]:
    """The parts of a transform job that decide about records."""
    return {
        "TransformInput": {"SplitType": split, "ContentType": kind},
        "TransformOutput": {"AssembleWith": assemble, "Accept": accept or kind},
        **fields,
    }


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ("$", {"id": 1, "deep": {"x": [5, 6, 7]}, "a-b": 2}),
        ("$.id", 1),
        ("$.deep.x", [5, 6, 7]),
        ("$['id']", 1),
        ("$['id','a-b']", {"id": 1, "a-b": 2}),
        ("$['id', 'absent']", {"id": 1}),
        ("$.deep['x']", [5, 6, 7]),
        ("$.deep.['x']", [5, 6, 7]),
        ("$.deep.x[0]", 5),
        ("$.deep.x[-1]", 7),
        ("$.deep.x[0,2]", [5, 7]),
        ("$.deep.x[1:]", [6, 7]),
        ("$.deep.*", [[5, 6, 7]]),
        ("$.deep.x[*]", [5, 6, 7]),
    ],
)
def test_paths(expression: str, selected: object) -> None:
    assert Path(expression).select({"id": 1, "deep": {"x": [5, 6, 7]}, "a-b": 2}) == selected


@pytest.mark.parametrize("expression", ["id", "$..id", "$[?(@.x)]", "$[1:2]", "$.", "$['a'", ""])
def test_paths_that_are_none(expression: str) -> None:
    with pytest.raises(PathError):
        Path(expression)


@pytest.mark.parametrize("expression", ["$.absent", "$['absent']", "$[0]", "$.id.x", "$.deep.x[9]"])
def test_paths_that_select_nothing(expression: str) -> None:
    with pytest.raises(PathError, match="selects nothing"):
        Path(expression).select({"id": 1, "deep": {"x": [1]}})


def test_lines_go_together_up_to_the_payload() -> None:
    lines = [b"x" * 400_000 for _ in range(5)]
    batches = list(Cutter(job(MaxPayloadInMB=1)).batches(b"\n".join(lines)))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert [line for batch in batches for line in batch] == lines


def test_single_records_go_alone() -> None:
    assert list(Cutter(job(BatchStrategy="SingleRecord")).batches(b"1\n2\r\n\n3\n")) == [[b"1"], [b"2"], [b"3"]]


def test_without_a_split_the_object_is_one_record() -> None:
    assert list(Cutter(job(split="None")).batches(b"1\n2\n")) == [[b"1\n2\n"]]


def test_a_record_beyond_the_payload_is_an_error() -> None:
    with pytest.raises(DataError, match="is larger than MaxPayloadInMB"):
        list(Cutter(job(MaxPayloadInMB=1)).batches(b"x" * 1_048_577))


def test_no_payload_limit() -> None:
    assert [len(batch) for batch in Cutter(job(MaxPayloadInMB=0)).batches(b"x" * 9_000_000 + b"\nx")] == [2]


def test_an_empty_object_makes_no_request() -> None:
    assert list(Cutter(job()).batches(b"\n")) == []


def test_gzip_is_opened() -> None:
    request = job()
    request["TransformInput"]["CompressionType"] = "Gzip"
    assert list(Cutter(request).batches(gzip.compress(b"1\n2"))) == [[b"1", b"2"]]
    with pytest.raises(DataError, match="not a gzip file"):
        list(Cutter(request).batches(b"1\n2"))


def test_a_batch_of_lines_ends_in_a_newline() -> None:
    assert Joiner(job()).body([b"1", b"2"]) == b"1\n2\n"


def test_answers_are_kept_line_by_line() -> None:
    assert Joiner(job()).results([b"1", b"2"], b'{"y":1}\n{"y":2}') == b'{"y":1}\n{"y":2}\n'


@pytest.mark.parametrize("answer", [b'{"y":1}\n', b'{"y":1}\n{"y":2}\n{"y":3}\n', b""])
def test_a_wrong_count_is_an_error(answer: bytes) -> None:
    with pytest.raises(DataError, match=r"the container answered \d records for 2"):
        Joiner(job()).results([b"1", b"2"], answer)


def test_without_lines_the_answer_stays_as_it_is() -> None:
    assert Joiner(job(split="None", assemble="None")).results([b"1"], b"any\nthing") == b"any\nthing"


def test_an_answer_that_has_no_lines_gets_an_end() -> None:
    assert Joiner(job(accept="application/json")).results([b"1", b"2"], b"[1,2]") == b"[1,2]\n"


def test_input_filter_takes_what_the_model_needs() -> None:
    joiner = Joiner(job(DataProcessing={"InputFilter": "$['x','y']"}))
    assert joiner.body([b'{"id":1,"x":2,"y":null}']) == b'{"x":2,"y":null}'


def test_join_puts_the_answer_beside_the_input() -> None:
    joiner = Joiner(job(DataProcessing={"JoinSource": "Input", "InputFilter": "$['x']"}))
    assert joiner.results([b'{"id":1,"x":2}'], b'{"y":3}') == b'{"id":1,"x":2,"SageMakerOutput":{"y":3}}\n'


def test_output_filter_takes_what_is_kept() -> None:
    joiner = Joiner(job(DataProcessing={"JoinSource": "Input", "OutputFilter": "$['id','SageMakerOutput']"}))
    rows = joiner.results([b'{"id":"\xc3\xa4","x":2}', b'{"id":2,"x":3}'], b'{"y":3}\n{"y":4}\n')
    assert [json.loads(row) for row in rows.splitlines()] == [
        {"id": "ä", "SageMakerOutput": {"y": 3}},
        {"id": 2, "SageMakerOutput": {"y": 4}},
    ]


def test_output_filter_alone_reads_the_answer() -> None:
    assert Joiner(job(DataProcessing={"OutputFilter": "$.y"})).results([b'{"x":1}'], b'{"y":3}') == b"3\n"


def test_an_input_that_is_no_object_is_wrapped() -> None:
    joiner = Joiner(job(DataProcessing={"JoinSource": "Input"}))
    assert joiner.results([b"[1,2]"], b"3") == b'{"SageMakerInput":[1,2],"SageMakerOutput":3}\n'


def test_one_json_document_is_joined_whole() -> None:
    request = job(split="None", kind="application/json", assemble="None", DataProcessing={"JoinSource": "Input"})
    document = Joiner(request).results([b'{\n "x": 1\n}'], b'{\n "y": 2\n}')
    assert json.loads(document) == {"x": 1, "SageMakerOutput": {"y": 2}}


def test_csv_columns_are_joined_and_filtered_by_index() -> None:
    processing = {"JoinSource": "Input", "InputFilter": "$[1:]", "OutputFilter": "$[0,-1]"}
    joiner = Joiner(job(kind="text/csv", DataProcessing=processing))
    assert joiner.body([b'"a,1",2,3', b"b,4,5"]) == b"2,3\n4,5\n"
    assert joiner.results([b'"a,1",2,3', b"b,4,5"], b"0.5\n0.7\n") == b'"a,1",0.5\nb,0.7\n'


def test_what_is_not_json_is_named() -> None:
    joiner = Joiner(job(DataProcessing={"JoinSource": "Input"}))
    with pytest.raises(DataError, match="not a JSON record: oops"):
        joiner.results([b"oops"], b"1")
    with pytest.raises(DataError, match="not a JSON record: <html>"):
        joiner.results([b"{}"], b"<html>")


def test_a_filter_that_selects_nothing_is_named() -> None:
    joiner = Joiner(job(DataProcessing={"InputFilter": "$.features"}))
    with pytest.raises(DataError, match=r"\$\.features selects nothing"):
        joiner.body([b'{"x":1}'])
