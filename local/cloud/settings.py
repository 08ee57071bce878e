"""Where one embedded cloud listens, keeps its state, and finds its interpreters."""

from dataclasses import dataclass
from pathlib import Path

MINISTACK_VERSION = "1.5.33"
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class CloudSettings:
    """One instance of the embedded cloud; its state folder is its identity."""

    port: int
    state: Path
    account: str = "000000000000"
    region: str = "us-east-1"
    lambda_python: Path = REPOSITORY / ".envs/lambda/bin/python"
    training_python: Path = REPOSITORY / ".envs/training/bin/python"
    glue_python: Path = REPOSITORY / ".envs/glue/bin/python"
    # How many seconds of a deployment's waits and of an alarm's periods pass in one: an hour's bake takes a minute.
    speed: float = 60.0
    # Repairs to leave out, by name or trap, comma-separated, or "all": tests show what each one changes.
    without: str = ""

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ValueError(f"The speed must be above 0, not {self.speed}: 1 is real time, 60 a minute in a second.")

    @property
    def endpoint_url(self) -> str:
        """The one URL of every service."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def left_out(self) -> frozenset[str]:
        """The names in `without`."""
        return frozenset(filter(None, self.without.split(",")))

    @property
    def pid_file(self) -> Path:
        """Locked by the running server for as long as it lives, and holding its process id."""
        return self.state / "cloud.pid"

    @property
    def started_file(self) -> Path:
        """What the server last started with (JSON: port, account, region, version, since)."""
        return self.state / "cloud.json"

    @property
    def log_file(self) -> Path:
        """The server's output since its last start."""
        return self.state / "cloud.log"

    @property
    def journal_file(self) -> Path:
        """What has changed since the last clean stop; large parts are in a folder beside it."""
        return self.state / "journal.db"

    @property
    def chaos_file(self) -> Path:
        """The switch of `local.cloud.chaos`: absent when events are delivered as usual."""
        return self.state / "chaos.json"

    @property
    def faults_file(self) -> Path:
        """The script of `local.cloud.faults`: absent when nothing is made to fail."""
        return self.state / "faults.yaml"

    @property
    def strikes_file(self) -> Path:
        """Which of the script's faults have happened; kept over restarts."""
        return self.state / "strikes.jsonl"

    @property
    def calls_file(self) -> Path:
        """What `local.cloud.recording` writes down; absent when it does not."""
        return self.state / "calls.jsonl"
