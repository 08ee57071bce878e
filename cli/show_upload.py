"""`ratchet show UPLOAD`: what validation found in an upload."""

import json
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from cli.errors import CommandError
from cli.find import find_upload
from cli.render import finding, number, outcome, stack_of, table
from cli.stack import Stack
from ratchet.contracts.base import Finding
from ratchet.domain.ledger import Verdict

_TOP = 3  # commonest values of a column


def read_report(stack: Stack, text: str) -> dict[str, Any]:
    """The report of the upload's newest verdict; CommandError when it has none."""
    pipeline, upload = find_upload(stack, text)
    verdicts = [verdict for verdict in stack.ledger.verdicts(pipeline) if verdict.upload_id == upload.upload_id]
    newest: Verdict | None = max(verdicts, key=lambda verdict: verdict.judged_at, default=None)
    if newest is None or newest.report_uri is None:
        raise CommandError(
            f"{upload.key} has not been judged yet. `ratchet watch {pipeline}` follows what becomes of it."
        )
    bucket, _, key = newest.report_uri.removeprefix("s3://").partition("/")
    report: dict[str, Any] = json.loads(stack.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    return report


def page(report: dict[str, Any]) -> RenderableType:
    """The report as people read it."""
    verdict, judged = report["verdict"], report["judgement"]
    found = judged["finding"]
    unit = judged["unit"]
    return stack_of(
        [
            Text.assemble(
                (verdict["key"], "bold"),
                "  ",
                outcome(verdict["outcome"]),
                f"  {judged['rows']:,} rows, {judged['bad_rows']:,} of them bad",
            ),
            Text(_reading(judged.get("reading")), style="dim"),
            *(Text(warning, style="yellow") for warning in judged.get("warnings", ())),
            finding(Finding.model_validate(found)) if found else None,
            _rules(judged["broken"], unit) if judged["broken"] else None,
            _examples(judged["examples"], unit) if judged["examples"] else None,
            _profile(judged["profile"]) if judged.get("profile") else None,
        ]
    )


def _reading(reading: dict[str, Any] | None) -> str:
    if reading is None:
        return "not read"
    named = ("encoding", "delimiter", "header_line")
    parts = [reading["format"] + (", gzip" if reading["packed"] else "")]
    parts += [
        f"{name.replace('_', ' ')} {reading[name]!r}" + (" (detected)" if name in reading["detected"] else "")
        for name in named
        if reading[name] is not None
    ]
    return ", ".join(parts)


def _rules(broken: list[dict[str, Any]], unit: str) -> RenderableType:
    rows = [
        (rule["column"] or "the line", rule["rule"], rule["expects"], f"{rule['rows']:,}", str(rule["first_line"]))
        for rule in broken
    ]
    return table("column", "rule", "must be", "rows#", f"first {unit}#", rows=rows)


def _examples(examples: list[dict[str, Any]], unit: str) -> RenderableType:
    rows = [(str(row["line"]), Text("; ".join(row["reasons"]))) for row in examples]
    return table(f"{unit}#", "reasons", rows=rows)


def _profile(profile: dict[str, Any]) -> RenderableType:
    rows = []
    for column in profile["columns"]:
        mean = number(column["mean"]) if column["mean"] is not None else ""
        top = ", ".join(f"{value} {share:.0%}" for value, share in column["top"][:_TOP])
        bounds = (Text(column[bound] or "") for bound in ("min", "max"))
        rows.append((column["column"], column["type"], f"{column['nulls']:,}", *bounds, mean, Text(top)))
    return table("column", "type", "empty#", "least", "greatest", "mean#", "commonest", rows=rows)
