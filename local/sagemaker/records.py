"""How batch transform cuts its input into requests and puts the answers together again."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

from local.sagemaker.jsonpath import Path, PathError
from local.sagemaker.s3 import DataError
from local.sagemaker.store import Record

OUTPUT, INPUT = "SageMakerOutput", "SageMakerInput"
_MEGABYTE = 1 << 20


class Cutter:
    """Splits an object into the bodies of requests, as TransformInput, BatchStrategy and MaxPayloadInMB say."""

    def __init__(self, job: Record) -> None:
        source = job["TransformInput"]
        self._gzipped = source.get("CompressionType", "None") == "Gzip"
        self._by_line = source.get("SplitType", "None") == "Line"
        self._single = job.get("BatchStrategy", "MultiRecord") == "SingleRecord"
        self._limit = job.get("MaxPayloadInMB", 6) * _MEGABYTE

    def batches(self, content: bytes) -> Iterator[list[bytes]]:
        """Lists of records that go into one request each."""
        if self._gzipped:
            try:
                content = gzip.decompress(content)
            except (OSError, EOFError) as error:
                raise DataError(f"not a gzip file: {error}") from error
        records = [line for line in content.splitlines() if line.strip()] if self._by_line else [content]
        batch: list[bytes] = []
        size = 0
        for record in records:
            if self._limit and len(record) > self._limit:
                raise DataError(f"a record of {len(record)} bytes is larger than MaxPayloadInMB ({self._limit} bytes)")
            if batch and (self._single or (self._limit and size + len(record) + 1 > self._limit)):
                yield batch
                batch, size = [], 0
            batch.append(record)
            size += len(record) + 1
        if batch:
            yield batch


class Joiner:
    """Filters records on their way in and joins them with the answers on their way out, as DataProcessing says."""

    def __init__(self, job: Record) -> None:
        processing = job.get("DataProcessing", {})
        self._input = Path(processing.get("InputFilter", "$"))
        self._output = Path(processing.get("OutputFilter", "$"))
        self._join = processing.get("JoinSource", "None") == "Input"
        self._active = self._join or any(path.expression != "$" for path in (self._input, self._output))
        self._by_line = job["TransformInput"].get("SplitType", "None") == "Line"
        self._single = job.get("BatchStrategy", "MultiRecord") == "SingleRecord"
        self._lines_out = job["TransformOutput"].get("AssembleWith", "None") == "Line"
        kind = job["TransformInput"].get("ContentType", "").split(";")[0]
        accept = job["TransformOutput"].get("Accept", kind).split(";")[0]
        self._parse_in = _parser(kind)
        self._parse_out = _parser(accept)
        self._write: Callable[[Any], bytes] = _csv_line if kind == "text/csv" else _json_line
        self._countable = self._lines_out and accept in ("application/jsonlines", "text/csv")

    def body(self, batch: list[bytes]) -> bytes:
        """The request for a batch of records."""
        if self._active and self._input.expression != "$":
            batch = [self._write(self._selected(self._input, self._parse_in(record))) for record in batch]
        return b"\n".join(batch) + b"\n" if self._by_line and len(batch) > 1 else b"\n".join(batch)

    def results(self, batch: list[bytes], answer: bytes) -> bytes:
        """What the output file gets for a batch."""
        if not self._active and not self._countable:
            return answer + b"\n" if self._lines_out and not answer.endswith(b"\n") else answer
        rows = [row for row in answer.splitlines() if row.strip()] if self._many else [answer.strip()]
        if len(rows) != len(batch):
            raise DataError(f"the container answered {len(rows)} records for {len(batch)}")
        if self._active:
            rows = [self._joined(record, row) for record, row in zip(batch, rows, strict=True)]
        joined = b"\n".join(rows)
        return joined + b"\n" if self._lines_out else joined

    @property
    def _many(self) -> bool:
        return self._by_line and not self._single

    def _joined(self, record: bytes, row: bytes) -> bytes:
        result = self._parse_out(row)
        if self._join:
            given = self._parse_in(record)
            if isinstance(given, dict):
                result = {**given, OUTPUT: result}
            elif self._parse_in is _csv_row:
                result = [*given, *(result if isinstance(result, list) else [result])]
            else:
                result = {INPUT: given, OUTPUT: result}
        return self._write(self._selected(self._output, result))

    @staticmethod
    def _selected(path: Path, value: Any) -> Any:
        try:
            return path.select(value)
        except PathError as error:
            raise DataError(str(error)) from error


def _parser(content_type: str) -> Callable[[bytes], Any]:
    return _csv_row if content_type == "text/csv" else _json_value


def _json_value(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"not a JSON record: {text[:200].decode(errors='replace')} ({error})") from error


def _json_line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _csv_row(text: bytes) -> list[str]:
    return next(csv.reader([text.decode()]), [])


def _csv_line(row: Any) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(row if isinstance(row, list) else [row])
    return line.getvalue().encode()
