"""A container behaves the same whether it is forked from the warm process or started cold."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from local.sagemaker.containers import Container, Launcher, base_environment
from local.sagemaker.jobs import Job
from local.sagemaker.store import TRAINING_JOB
from tests.integration.sagemaker.cloud import PYTHON
from tests.integration.sagemaker.fakes import until

warm_only = pytest.mark.skipif(sys.platform != "linux", reason="containers are forked on Linux only")


class Started:
    """Starts scripts in a folder."""

    def __init__(self, launcher: Launcher, folder: Path) -> None:
        self._launcher = launcher
        self._folder = folder

    def __call__(self, script: str, *arguments: str, **env: str) -> Container:
        """A container that runs the script."""
        path = self._folder / "script.py"
        path.write_text(dedent(script))
        environment = {**base_environment(), **env}
        log = self._folder / "log"
        return self._launcher.start([str(path), *arguments], cwd=self._folder, env=environment, log=log)


@pytest.fixture(scope="module", params=[True, False], ids=["warm", "cold"])
def launcher(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    launcher = Launcher(PYTHON, tmp_path_factory.mktemp("launcher"), warm=request.param)
    yield launcher
    launcher.close()


@pytest.fixture
def start(launcher: Launcher, tmp_path: Path) -> Started:
    return Started(launcher, tmp_path)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("pass", 0),
        ("import sys; sys.exit(7)", 7),
        ("import sys; sys.exit('words')", 1),
        ("raise SystemExit", 0),
        ("raise ValueError('no')", 1),
        ("import os; os._exit(9)", 9),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("def broken(:", 1),
    ],
)
def test_exit_codes(start: Started, script: str, code: int) -> None:
    assert start(script).wait(20) == code


def test_a_traceback_begins_in_the_script(start: Started, tmp_path: Path) -> None:
    container = start("""
        def fail():
            raise ValueError("no such luck")

        fail()
    """)
    container.wait(20)
    assert (
        container.tail(10_000)
        == dedent(f"""
        Traceback (most recent call last):
          File "{tmp_path}/script.py", line 5, in <module>
            fail()
          File "{tmp_path}/script.py", line 3, in fail
            raise ValueError("no such luck")
        ValueError: no such luck""").strip()
    )


def test_what_the_script_sees(start: Started, tmp_path: Path) -> None:
    (tmp_path / "store.py").write_text("WHOSE = 'the job'")
    container = start(
        """
        import json, os, sys
        import store
        print(json.dumps({
            "argv": sys.argv, "cwd": os.getcwd(), "path": sys.path[0], "name": __name__, "file": __file__,
            "main": sys.modules["__main__"].store.WHOSE, "env": dict(os.environ), "leader": os.getpid() == os.getsid(0),
            "stdin": sys.stdin.read(), "open": sorted(os.listdir("/proc/self/fd")),
        }))
        """,
        "--depth",
        "3",
        GIVEN="yes",
    )
    assert container.wait(20) == 0, container.tail(2000)
    seen = json.loads(container.tail(10_000))
    script = str(tmp_path / "script.py")
    assert seen["argv"] == [script, "--depth", "3"]
    assert (seen["cwd"], seen["path"]) == (str(tmp_path), str(tmp_path))
    assert (seen["name"], seen["file"], seen["main"]) == ("__main__", script, "the job")
    assert seen["env"].pop("LC_CTYPE", "C.UTF-8") == "C.UTF-8"
    assert seen["env"] == {**base_environment(), "GIVEN": "yes"}
    assert seen["leader"]
    assert seen["stdin"] == ""
    assert seen["open"] == ["0", "1", "2", "3"]


def test_nothing_of_one_container_reaches_the_next(start: Started) -> None:
    assert start("import os, sys; os.environ['LEFT'] = 'over'; sys.modules['left'] = sys", SECRET="s").wait(20) == 0
    container = start(
        "import os, sys; sys.exit('LEFT' in os.environ or 'SECRET' in os.environ or 'left' in sys.modules)"
    )
    assert container.wait(20) == 0


def test_output_is_there_while_the_script_runs(start: Started) -> None:
    container = start("import time; print('begun'); time.sleep(60)")
    until(lambda: container.tail(100) == "begun")
    assert container.code is None
    container.stop(5)


def test_what_a_script_does_at_its_end_is_done(start: Started) -> None:
    container = start("""
        import atexit, threading, time
        atexit.register(print, "at exit")
        threading.Thread(target=lambda: (time.sleep(0.1), print("from a thread"))).start()
    """)
    assert container.wait(20) == 0
    assert container.tail(1000).splitlines() == ["from a thread", "at exit"]


def test_a_stop_may_be_answered(start: Started) -> None:
    container = start("""
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: (print("saved"), sys.exit(0)))
        sys.stdout.write("ready\\n")  # in one piece, which no signal divides
        time.sleep(60)
    """)
    until(lambda: "ready" in container.tail(100))
    container.stop(10)
    assert (container.code, container.tail(100)) == (0, "ready\nsaved")


def test_a_stop_that_is_ignored_kills(start: Started) -> None:
    container = start("""
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("ready")
        time.sleep(60)
    """)
    until(lambda: "ready" in container.tail(100))
    container.stop(0.2)
    assert container.code == -signal.SIGKILL


def test_a_container_takes_its_children_with_it(start: Started) -> None:
    container = start("""
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print(child.pid)
    """)
    assert container.wait(20) == 0
    child = int(container.tail(100))
    until(lambda: not alive(child))


def test_threads_of_openmp_work(start: Started) -> None:
    container = start("""
        import numpy as np, xgboost as xgb
        data = np.random.rand(500, 4)
        xgb.train({"nthread": 2}, xgb.DMatrix(data, data.sum(axis=1)), 5).predict(xgb.DMatrix(data))
    """)
    assert container.wait(30) == 0, container.tail(2000)


def test_containers_do_not_share_randomness(start: Started) -> None:
    script = "import numpy, random; print(numpy.random.rand(), random.random())"
    containers = [start(script) for _ in range(2)]
    for container in containers:
        assert container.wait(20) == 0
    first, second = containers[0].tail(1000).splitlines()
    assert all(a != b for a, b in zip(first.split(), second.split(), strict=True))


def test_many_at_once(start: Started) -> None:
    containers = [start(f"import sys; sys.exit({number})") for number in range(8)]
    assert {container.wait(30) for container in containers} <= set(range(8))
    assert all(container.code is not None for container in containers)


def test_a_stop_that_came_before_the_container_ends_it(start: Started) -> None:
    job = Job(TRAINING_JOB, "stopped-early")
    job.stop(grace=5)
    container = start("import time; time.sleep(60)")
    job.attach(container)
    assert container.code is not None


@warm_only
def test_warm_is_much_faster(tmp_path: Path) -> None:
    durations = {}
    for warm in (True, False):
        launcher = Launcher(PYTHON, tmp_path, warm=warm)
        start = Started(launcher, tmp_path)
        start("pass").wait(20)
        begun = time.monotonic()
        assert start("import xgboost, pandas").wait(20) == 0
        durations[warm] = time.monotonic() - begun
        launcher.close()
    assert durations[True] < durations[False] / 2


@warm_only
def test_settings_that_libraries_read_when_loaded_are_obeyed(tmp_path: Path) -> None:
    launcher = Launcher(PYTHON, tmp_path, warm=True)
    container = Started(launcher, tmp_path)("import sys; sys.exit('xgboost' in sys.modules)", OMP_NUM_THREADS="1")
    assert container.wait(20) == 0
    launcher.close()


@warm_only
def test_containers_start_cold_when_there_is_no_warm_process(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncase "$1" in *zygote.py) exit 1;; esac\nexec {PYTHON} "$@"\n')
    python.chmod(0o755)
    launcher = Launcher(python, tmp_path, warm=True)
    assert Started(launcher, tmp_path)("import sys; sys.exit('xgboost' in sys.modules)").wait(20) == 0
    launcher.close()


@warm_only
def test_a_zygote_that_died_is_replaced_and_its_containers_are_known_dead(tmp_path: Path) -> None:
    launcher = Launcher(PYTHON, tmp_path, warm=True)
    start = Started(launcher, tmp_path)
    orphan = start("import os, time; print(os.getppid()); time.sleep(60)")
    until(lambda: orphan.tail(100))
    os.kill(int(orphan.tail(100)), signal.SIGKILL)
    assert orphan.wait(20) == -signal.SIGKILL
    until(lambda: not alive(orphan.pid))
    assert start("pass").wait(20) == 0
    launcher.close()


@warm_only
def test_all_ends_when_the_parent_is_killed(tmp_path: Path) -> None:
    program = f"""
        import time
        from pathlib import Path
        from local.sagemaker.containers import Launcher, base_environment
        folder = Path({str(tmp_path)!r})
        (folder / "script.py").write_text("import time; time.sleep(60)")
        launcher = Launcher(Path({str(PYTHON)!r}), folder, warm=True)
        container = launcher.start([str(folder / "script.py")], cwd=folder, env=base_environment(), log=folder / "log")
        print(container.pid, flush=True)
        time.sleep(60)
    """
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", dedent(program)], stdout=subprocess.PIPE, cwd=root, text=True
    ) as parent:
        assert parent.stdout is not None
        container = int(parent.stdout.readline())
        assert alive(container)
        parent.kill()
    until(lambda: not alive(container))


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
