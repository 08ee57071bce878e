"""Findings about a file as a whole: it cannot be read, or it is not what the contract describes."""

from collections.abc import Sequence

from ratchet.contracts.base import Finding

_LISTED = 20
_FORMATS = {"csv": "CSV text", "jsonl": "JSON Lines", "parquet": "Parquet"}


def empty() -> Finding:
    return Finding(
        what="The file is empty.",
        where="the whole file",
        why="It holds no data at all: usually an export or a transfer that broke off before its first byte.",
        fix="Export the data again and look at the file before uploading it.",
    )


def not_the_format(expected: str, seems: str, fix: str | None = None) -> Finding:
    return Finding(
        what=f"The file is not {_FORMATS[expected]}: its content is {seems}.",
        where="the file's first bytes (its name does not matter)",
        why=f"data.format is {expected}.",
        fix=fix or f"Export the data as {_FORMATS[expected]}, or state the file's true format in data.format.",
    )


def damaged(kind: str, detail: str) -> Finding:
    return Finding(
        what=f"The {kind} file is damaged or incomplete.",
        where="the whole file",
        why=f"Reading it ended with: {detail}",
        fix="Create the file again and upload it again; compare its size on both sides of the transfer.",
    )


def too_large(size: int, limit: int) -> Finding:
    return Finding(
        what=f"The file is too large to validate: {size / 1e6:,.0f} MB or more, unpacked.",
        where="the whole file",
        why=f"Validation has room for {limit / 1e6:,.0f} MB, unpacked (a job's disk).",
        fix="Split the file into several uploads, or deploy with a larger ValidateLargeWorkerType.",
    )


def bomb(size: int, packed: int) -> Finding:
    return Finding(
        what=f"The gzip file unpacks to more than {size / 1e6:,.0f} MB, {size / packed:,.0f} times its size.",
        where="the whole file",
        why="Data does not pack so well: it is the same bytes over and over, by mistake or on purpose.",
        fix="Look into the file; if its content is right, upload it without gzip.",
    )


def not_the_encoding(declared: str, line: int | None, seems: str, *, stated: bool) -> Finding:
    return Finding(
        what=f"The file's text is not {declared}; it seems to be {seems}.",
        where=f"line {line}" if line else "the whole file",
        why=f"data.encoding is {declared}."
        if stated
        else "data.encoding is not stated, and a wrong guess would change values silently.",
        fix="State the file's encoding in data.encoding, or save it as UTF-8 (in Excel: 'CSV UTF-8') and upload again.",
    )


def nul_bytes(line: int) -> Finding:
    return Finding(
        what="The file holds NUL bytes, which no text has.",
        where=f"line {line}",
        why="Usually a write or a transfer that broke off, or binary data in a text column.",
        fix="Export the file again, without the binary column if there is one.",
    )


def policy_columns(kind: str, names: Sequence[str]) -> Finding:
    unexpected = kind == "unexpected"
    return Finding(
        what=f"The file {'has' if unexpected else 'lacks'} the {_plural('column', names)} {_names(names)}"
        + (", which the contract does not know." if unexpected else "."),
        where="the file's columns",
        why=f"data.{kind}_columns is reject.",
        fix="Export the file with the contract's columns, change data.columns, "
        f"or set data.{kind}_columns to warn or ignore in pipeline.yaml.",
    )


def missing_columns(missing: Sequence[str], found: Sequence[str], unit: str) -> Finding:
    by_fold = {name.strip().casefold(): name for name in found}
    near = [f"{by_fold[name.casefold()]!r} for {name!r}" for name in missing if name.casefold() in by_fold]
    hint = f" Names are case-sensitive: the file has {', '.join(near)}." if near else ""
    return Finding(
        what=f"The file lacks the {_plural('column', missing)} {_names(missing)}.",
        where="line 1, the header" if unit == "line" else "the file's columns",
        why=f"The contract needs {'it' if len(missing) == 1 else 'them'}; the file has {_names(found)}.{hint}",
        fix="Export the file with these column names in its first line, or change data.columns in pipeline.yaml.",
    )


def other_delimiter(expected: str, found: str) -> Finding:
    names = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
    return Finding(
        what=f"The file separates its columns by {names[found]}, not by {names[expected]}.",
        where="line 1, the header",
        why=f"data.delimiter is {expected!r}.",
        fix=f"Export the file separated by {names[expected]}, or set data.delimiter to {found!r} in pipeline.yaml.",
    )


def no_delimiter(line: int, columns: int) -> Finding:
    return Finding(
        what=f"No delimiter splits the file into the contract's {columns} columns.",
        where=f"line {line}",
        why="data.header is false and data.delimiter is not stated; comma, semicolon, tab and bar were tried.",
        fix="State data.delimiter, or list in data.columns all the columns that the file has, in its order.",
    )


def too_long_line(line: int, limit: int) -> Finding:
    return Finding(
        what=f"A line is longer than {limit / 1e6:,.0f} MB.",
        where=f"line {line}",
        why="One line is one row; usually the line ends were lost, or everything was written as one document.",
        fix="Write each row in a line of its own.",
    )


def duplicate_columns(names: Sequence[str]) -> Finding:
    return Finding(
        what=f"The file names the {_plural('column', names)} {_names(names)} more than once.",
        where="line 1, the header",
        why="Which of them holds the values would be a guess; upper and lower case do not tell columns apart.",
        fix="Rename or remove the repeated columns and upload the file again.",
    )


def nested_columns(names: Sequence[str]) -> Finding:
    return Finding(
        what=f"The {_plural('column', names)} {_names(names)} must hold plain values, not nested or binary ones.",
        where="the file's columns",
        why="The contract knows timestamps, numbers, integers, strings and booleans.",
        fix="Write each part that matters into a column of its own.",
    )


def no_pipeline(key: str, folder: str = "incoming/") -> Finding:
    return Finding(
        what="The object belongs to no pipeline.",
        where=key,
        why=f"A file's pipeline is the folder it lies in: {folder}<pipeline>/<file>.",
        fix=f"Upload it again to {folder}<pipeline>/, with the name of one of the pipelines (`ratchet status`).",
    )


def unknown_pipeline(name: str, key: str) -> Finding:
    return Finding(
        what=f"There is no pipeline {name!r}.",
        where=key,
        why="No definition was ever applied under this name, so there is no contract to judge the file by.",
        fix=f"Correct the folder's name, or `ratchet apply` a definition named {name!r}: the file is then judged.",
    )


def header_only(min_rows: int) -> Finding:
    return Finding(
        what="The file holds no rows, only column names.",
        where="the whole file",
        why=f"The contract asks for at least {counted(min_rows, 'row')}.",
        fix="Export the data again, and check that the export's filter selects rows.",
    )


def counted(number: int, noun: str) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _plural(noun: str, names: Sequence[str]) -> str:
    return noun if len(names) == 1 else f"{noun}s"


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in names[:_LISTED]) or "none"
    return f"{shown} and {len(names) - _LISTED} more" if len(names) > _LISTED else shown
