"""Validation beside plain conversion and beside the libraries that check data: wall time and memory of whole processes.

Every contender runs in a fresh process, in turns. Ours does more than each: it writes the good rows and, with every
reason, the bad ones, and describes what it accepted. The machine's other work slows all of them; the ratios of a run
are what counts.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

# Smaller by environment variable where time is short: ROUNDS=1 LARGE=0 leaves out the 3 GB.
ROUNDS = int(os.environ.get("ROUNDS", "3"))
ROWS = 5_000_000
LARGE = int(os.environ.get("LARGE", "9"))  # times as many rows: 3 GB
REPOSITORY = Path(__file__).parents[1]
SCRIPT = REPOSITORY / "benchmarks" / "validation_contenders.py"
OTHERS = REPOSITORY / ".envs" / "bench" / "bin" / "python"
PLAIN = ("duckdb", "polars")
CHECKERS = ("pandera", "dataframely", "pointblank", "great_expectations")


@dataclass(frozen=True)
class Measured:
    """A whole process."""

    seconds: float
    cpu: float
    peak_mb: float
    broken: int


def main() -> None:
    """Measures, prints a table, and the figures as one JSON object on the last line."""
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as name:
        folder = Path(name)
        file = folder / "upload.csv"
        write(file, ROWS)
        print(f"{file.stat().st_size / 1e6:,.0f} MB, load {os.getloadavg()[0]:.1f}, {ROUNDS} rounds")
        found: dict[str, list[Measured]] = {each: [] for each in ("ratchet", *PLAIN, *CHECKERS)}
        for _ in range(ROUNDS):
            for contender, runs in found.items():
                runs.append(measure(contender, file))
        file.unlink()
        biggest = measure_large(folder / "large.csv") if LARGE else None
    table(found)
    print(json.dumps(figures(found, biggest)))


def measure_large(file: Path) -> Measured:
    """Ours on many times the rows; its memory should be the same."""
    write(file, ROWS * LARGE)
    size, found = file.stat().st_size, measure("ratchet", file)
    print(f"ratchet, {size / 1e9:.1f} GB: {found.seconds:.1f} s, {found.cpu:.1f} s CPU, {found.peak_mb:,.0f} MB")
    return found


def write(file: Path, rows: int) -> None:
    """The data, generated in another process, so that this one stays small."""
    subprocess.run([str(OTHERS), str(SCRIPT), "write", str(file), str(rows)], check=True)


def measure(contender: str, file: Path) -> Measured:
    """One run of a contender, with a folder of its own for what it writes."""
    ours = contender == "ratchet"
    python = sys.executable if ours else str(OTHERS)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        answer = Path(folder) / "answer.json"
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "layers/core"), "GX_ANALYTICS_ENABLED": "False"}
        actions = [
            (os.POSIX_SPAWN_OPEN, 1, str(answer), os.O_WRONLY | os.O_CREAT, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
        started = time.monotonic()
        command = [python, str(SCRIPT), contender, str(file), folder]
        process = os.posix_spawn(python, command, environment, file_actions=actions)
        _, status, used = os.wait4(process, 0)
        seconds = time.monotonic() - started
        assert status == 0, f"{contender} ended with {status}; run it by hand: {' '.join(command)}"
        broken = json.loads(answer.read_text().splitlines()[-1])["broken"]
    return Measured(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, broken)


def table(found: dict[str, list[Measured]]) -> None:
    print(f"{'':20} {'wall s':>8} {'CPU s':>8} {'peak MB':>8} {'broken':>8}")
    for name, runs in found.items():
        wall, cpu = (statistics.median(each) for each in ([r.seconds for r in runs], [r.cpu for r in runs]))
        print(f"{name:20} {wall:8.2f} {cpu:8.2f} {max(r.peak_mb for r in runs):8,.0f} {runs[0].broken:8,}")


def figures(found: dict[str, list[Measured]], biggest: Measured | None) -> dict[str, float | None]:
    """Ratios are medians over rounds, each within one round; those of CPU time hold on a busy machine too."""
    ours = found["ratchet"]

    def ratio(names: tuple[str, ...], value: str, *, of_ours: bool) -> float:
        pairs: list[float] = []
        for place, own in enumerate(ours):
            best = min(getattr(found[name][place], value) for name in names)
            pairs.append(getattr(own, value) / best if of_ours else best / getattr(own, value))
        return round(statistics.median(pairs), 2)

    return {
        "ratio_to_plain": ratio(PLAIN, "seconds", of_ours=True),
        "ratio_to_plain_cpu": ratio(PLAIN, "cpu", of_ours=True),
        "speedup_fastest_checker": ratio(CHECKERS, "seconds", of_ours=False),
        "speedup_fastest_checker_cpu": ratio(CHECKERS, "cpu", of_ours=False),
        "speedup_great_expectations": ratio(("great_expectations",), "seconds", of_ours=False),
        "peak_mb": round(max(run.peak_mb for run in ours)),
        "peak_mb_3gb": round(biggest.peak_mb) if biggest else None,
        "rounds": ROUNDS,
    }


if __name__ == "__main__":
    main()
