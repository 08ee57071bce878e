"""What the gate takes for a holdout of a million rows: processor seconds and memory, beside Evaluate Model's limits.

Each case runs in a process of its own, which reads the holdout and both models' answers as JSON Lines, joins them, and
applies every rule. S3 is left out: the lines come from a folder.
"""

import json
import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ratchet.adapters.memory_store import MemoryStore
from ratchet.domain.definition import Definition
from ratchet.domain.evaluation import all_scores, holdout_of
from ratchet.domain.gate import judge
from ratchet.domain.judged import read_judged
from tests.template.reading import template

ROWS = 1_000_000
SERIES = 200
FIRST = datetime(2026, 2, 1)  # noqa: DTZ001 - data has no zone
CASES: dict[str, dict[str, Any]] = {
    "series": {"metric": "forecast_accuracy", "holdout": "28d"},
    "labels": {"metric": "f1", "holdout": 0.2},
    "areas": {"metric": "auc", "holdout": 0.2},
    "numbers": {"metric": "rmse", "holdout": 0.2},
}


class FolderStore(MemoryStore):
    """Lines of files, none of them held."""

    def list(self, prefix_uri: str) -> list[str]:
        return sorted(str(path) for path in Path(prefix_uri).iterdir())

    def lines(self, uri: str) -> Iterator[str]:
        with Path(uri).open() as file:
            yield from file


@dataclass(frozen=True)
class Case:
    """A definition, and the folders that hold its holdout and answers."""

    definition: Definition
    folder: Path

    @classmethod
    def of(cls, name: str, folder: Path) -> "Case":
        timed, labelled = name == "series", name in ("labels", "areas")
        columns = {"site": {"type": "string"}, "x": {"type": "number"}, "at": {"type": "timestamp"}}
        data: dict[str, Any] = {
            "target": "y",
            "task": "classification" if labelled else "regression",
            "columns": {**columns, "y": {"type": "string" if labelled else "number"}},
        }
        if timed:
            data |= {"timestamp": "at", "series": ["site"]}
        gate = {"threshold": 0.0, "slices": {"columns": ["site"], "max_regression": 0.05}, **CASES[name]}
        return cls(Definition.model_validate({"name": "bench", "data": data, "gate": gate}), folder)

    def write(self) -> None:
        """A million rows, and two models' answers."""
        drawn = random.Random(1)  # noqa: S311 - repeatable rows, no secret
        classes = ["early", "late", "on time"]
        labelled = self.definition.data.task == "classification"
        files = {name: self._file(name) for name in ("holdout", "candidate", "champion")}
        for row in range(ROWS):
            at = (FIRST + timedelta(minutes=8 * (row // SERIES))).isoformat()
            record = {"site": f"site-{row % SERIES}", "x": drawn.random(), "at": at}
            actual: Any = drawn.choice(classes) if labelled else 100 + 10 * drawn.random()
            naive = "late" if labelled else actual + drawn.gauss(0, 5)
            time_text = at if self.definition.data.timestamp else None
            line = {"row": row, "actual": actual, "naive": naive, "time": time_text, "record": record}
            files["holdout"].write(json.dumps(line) + "\n")
            for role, spread in (("candidate", 1.0), ("champion", 1.01)):
                output = (
                    {"prediction": actual + drawn.gauss(0, spread)} if not labelled else said(drawn, classes, actual)
                )
                files[role].write(json.dumps({"row": row, "SageMakerOutput": output}) + "\n")
        for file in files.values():
            file.close()

    def judge(self) -> dict[str, float]:
        """Reads and decides; processor seconds of either."""
        began = time.process_time()
        outputs = {role: str(self.folder / role) for role in ("candidate", "champion")}
        judged = read_judged(
            FolderStore(),
            str(self.folder / "holdout"),
            outputs,
            classification=self.definition.data.task == "classification",
            columns=("site",),
        )
        read = time.process_time()
        holdout = holdout_of(self.definition, judged, None, {})
        decision = judge(self.definition.gate, holdout, judged.answers["candidate"], judged.answers["champion"])
        decided = time.process_time()
        all_scores(holdout, judged)
        assert len(decision.rules) == 4
        return {"read": read - began, "decide": decided - read, "scores": time.process_time() - decided}

    def _file(self, name: str) -> Any:
        path = self.folder / name / ("part-0.jsonl" if name == "holdout" else "part-0.jsonl.out")
        path.parent.mkdir(parents=True)
        return path.open("w")


def said(drawn: random.Random, classes: list[str], actual: str) -> dict[str, Any]:
    """A class with the probabilities of all."""
    weights = {name: drawn.random() + 0.5 * (name == actual) for name in classes}
    total = sum(weights.values())
    shares = {name: weight / total for name, weight in weights.items()}
    return {"prediction": max(shares, key=lambda name: shares[name]), "probabilities": shares}


def measured(case: Case) -> dict[str, float]:
    """What judging takes, and the process's peak memory."""
    seconds = case.judge()
    return {**seconds, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def limits() -> tuple[int, int]:
    """Evaluate Model's memory in MB and its timeout in seconds."""
    properties = template()["Resources"]["EvaluateModelFunction"]["Properties"]
    return properties["MemorySize"], properties["Timeout"]


def main() -> None:
    """Prints a line for each case, and the worst of all as JSON."""
    memory, timeout = limits()
    worst = {"seconds": 0.0, "peak_mb": 0.0}
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            case = Case.of(name, Path(folder))
            case.write()
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found = pool.apply(measured, (case,))
        seconds = found["read"] + found["decide"] + found["scores"]
        parts = ", ".join(f"{part} {value:.1f} s" for part, value in found.items() if part != "peak_mb")
        print(f"{name:8} {ROWS:,} rows: {seconds:.1f} s ({parts}), peak {found['peak_mb']:.0f} MB")
        worst = {"seconds": max(worst["seconds"], seconds), "peak_mb": max(worst["peak_mb"], found["peak_mb"])}
    print(
        json.dumps(
            {
                "share_of_timeout": round(worst["seconds"] / timeout, 3),
                "share_of_memory": round(worst["peak_mb"] / memory, 3),
                "peak_mb": round(worst["peak_mb"]),
            }
        )
    )


if __name__ == "__main__":
    main()
