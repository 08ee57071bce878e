"""T5, T15, T16, T17: Python functions run on the Lambda interpreter, in a clean environment, and fail as on AWS."""

import json
import os
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.cloud.process import Cloud
from local.cloud.repairs import lambda_memory
from tests.integration.cloud.account import RUNTIME, Account, archive, until

PASS = {"Type": "Pass", "End": True}


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    return Account(cloud)


def handler(*lines: str) -> str:
    return "def handler(event, context):\n" + "".join(f"    {line}\n" for line in lines)


RAISES = "class DataRejectedError(Exception):\n    pass\n\n\n" + handler("raise DataRejectedError('line 3')")


def test_an_exception_is_named_by_its_class(account: Account) -> None:
    function = account.function(RAISES)

    error = account.invoke(function)

    assert error == {
        "errorType": "DataRejectedError",
        "errorMessage": "line 3",
        "requestId": error["requestId"],
        "stackTrace": error["stackTrace"],
    }
    assert "in handler\n    raise DataRejectedError('line 3')" in "".join(error["stackTrace"])
    assert "[ERROR] DataRejectedError: line 3\nTraceback (most recent call last):" in account.logged(function)


def test_a_catch_by_class_name_is_taken(account: Account) -> None:
    catch = [{"ErrorEquals": ["DataRejectedError"], "Next": "Caught"}]
    task = {"Type": "Task", "Resource": account.function(RAISES), "Catch": catch, "End": True}

    caught = account.run_states({}, Start=task, Caught=PASS)["output"]

    assert caught["Error"] == "DataRejectedError"
    assert json.loads(caught["Cause"])["errorMessage"] == "line 3"


@pytest.mark.parametrize(
    ("source", "error_type", "message"),
    [
        ("import absent", "Runtime.ImportModuleError", "Unable to import module 'app': No module named 'absent'"),
        ("def handler(:", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app': "),
        ("other = 1", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        ("raise KeyError('TABLE_NAME')", "KeyError", "'TABLE_NAME'"),
        (handler("return {1, 2}"), "Runtime.MarshalError", "Unable to marshal response: "),
        (handler("import sys", "sys.exit(3)"), "Runtime.ExitError", "Error: Runtime exited with error: exit status 3"),
        (
            handler("import os", "os.kill(os.getpid(), 9)"),
            "Runtime.ExitError",
            "Error: Runtime exited with error: signal: killed",
        ),
    ],
)
def test_the_runtime_names_its_own_errors(account: Account, source: str, error_type: str, message: str) -> None:
    error = account.invoke(account.function(source))

    assert error["errorType"] == error_type
    assert message in error["errorMessage"]


@pytest.mark.parametrize("then", ["time.sleep(20)", "del held"])
def test_a_function_that_uses_more_than_its_memory_is_killed(account: Account, then: str) -> None:
    hungry = handler("import time", "held = b'x' * event", then, "return 'fed'")
    function = account.function(hungry, MemorySize=128, Timeout=30)

    error = account.invoke(function, 300_000_000)

    assert error["errorType"] == "Runtime.OutOfMemory"
    assert error["errorMessage"].endswith(" Error: Runtime exited with error: signal: killed")
    eaten = account.run_states(300_000_000, Eat={"Type": "Task", "Resource": function, "End": True})
    assert eaten["error"] == "Runtime.OutOfMemory"


def test_memory_that_is_mapped_and_not_used_does_not_count(account: Account) -> None:
    function = account.function(handler("import mmap", "mmap.mmap(-1, 2**31)", "return 'mapped'"), MemorySize=128)

    assert account.invoke(function) == "mapped"
    report = re.search(r"Memory Size: 128 MB\tMax Memory Used: (\d+) MB", account.logged(function))
    assert report is not None
    assert 5 < int(report[1]) < 128


def test_a_machine_without_proc_is_asked_by_ps(monkeypatch: pytest.MonkeyPatch) -> None:
    by_proc = lambda_memory._peak_megabytes(os.getpid())
    monkeypatch.setattr(lambda_memory, "_PROC", Path("/absent"))

    assert lambda_memory._peak_megabytes(os.getpid()) == pytest.approx(by_proc, rel=0.1)
    assert by_proc > 10


def test_a_timeout_ends_the_environment(account: Account) -> None:
    function = account.function(handler("import time", "time.sleep(event or 0)", "return 'awake'"), Timeout=1)

    error = account.invoke(function, 30)

    assert error["errorType"] == "Sandbox.Timedout"
    assert error["errorMessage"].endswith(" Error: Task timed out after 1.00 seconds")
    assert account.invoke(function) == "awake"


def test_an_environment_survives_an_exception(account: Account) -> None:
    function = account.function("calls = []\n" + handler("calls.append(1)", "assert event", "return len(calls)"))

    assert account.invoke(function, 0)["errorType"] == "AssertionError"
    assert account.invoke(function, 1) == 2


def test_logging_reaches_the_log_as_the_managed_runtime_writes_it(account: Account) -> None:
    function = account.function(
        "import logging\n\n\n"
        + handler(
            "logging.info('quiet')",
            "logging.warning('loud %s', event)",
            "print('plain')",
            "return context.aws_request_id",
        )
    )

    request_id = account.invoke(function, 7)

    lines = account.logged(function).splitlines()
    warning = next(line for line in lines if "loud" in line).split("\t")
    assert (warning[0], warning[2], warning[3]) == ("[WARNING]", request_id, "loud 7")
    assert time.strptime(warning[1][:19], "%Y-%m-%dT%H:%M:%S")
    assert "plain" in lines
    assert not any("quiet" in line for line in lines), "the root logger's level is WARNING unless the function sets it"


def test_json_logs_at_the_level_of_the_function(account: Account) -> None:
    function = account.function(
        "import logging\n\n\n" + handler("logging.info('quiet')"),
        LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "INFO"},
    )

    account.invoke(function)

    record = next(json.loads(line) for line in account.logged(function).splitlines() if "quiet" in line)
    assert (record["level"], record["message"], record["logger"]) == ("INFO", "quiet", "root")


def test_each_invocation_has_its_own_log_and_nothing_of_the_next(account: Account) -> None:
    function = account.function(handler("print('call', event)"))

    for call in range(3):
        account.invoke(function, call)

    blocks = account.logged(function).split("START RequestId")[1:]
    assert sorted(block.count("call ") for block in blocks) == [1, 1, 1]


def test_only_boto3_and_the_functions_own_packages_can_be_imported(account: Account) -> None:
    source = handler(
        "import importlib.util as util",
        "return {name: util.find_spec(name) is not None for name in ('boto3', 'pydantic', 'ministack', 'local')}",
    )

    assert account.invoke(account.function(source)) == {
        "boto3": True,
        "pydantic": False,
        "ministack": False,
        "local": False,
    }


def test_layers_come_after_the_code_and_later_ones_win(account: Account) -> None:
    client = account.functions
    layers = [
        client.publish_layer_version(LayerName=name, Content={"ZipFile": archive(files)})["LayerVersionArn"]
        for name, files in {
            "first": {"python/shared.py": "NAME = 'first'", "python/mine.py": "NAME = 'layer'"},
            "second": {
                f"python/lib/{RUNTIME}/site-packages/packed.py": "NAME = 'packed'",
                "python/shared.py": "NAME = 'second'",
            },
        }.items()
    ]
    code = archive(
        {
            "app.py": "import mine, packed, shared\n\n\n" + handler("return [mine.NAME, packed.NAME, shared.NAME]"),
            "mine.py": "NAME = 'function'",
        }
    )
    function = account.function("", Code={"ZipFile": code}, Layers=layers)

    assert account.invoke(function) == ["function", "packed", "second"]


def test_a_clean_environment(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    function = account.function(
        "import os\n\n\n" + handler("return dict(os.environ)"),
        Environment={"Variables": {"TABLE_NAME": "t"}},
        MemorySize=256,
    )

    seen = account.invoke(function)

    lambdas = {name for name in seen if name.startswith(("AWS_LAMBDA_", "LAMBDA_"))}
    assert lambdas == {
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_FORMAT",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "LAMBDA_TASK_ROOT",
    }
    assert set(seen) - lambdas - {"LC_CTYPE"} == {
        "_HANDLER",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_DISABLE_HOST_PREFIX_INJECTION",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_ENDPOINT_URL",
        "AWS_EXECUTION_ENV",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_XRAY_CONTEXT_MISSING",
        "AWS_XRAY_DAEMON_ADDRESS",
        "LANG",
        "PATH",
        "TABLE_NAME",
        "TMPDIR",
        "TZ",
    }
    assert (seen["TABLE_NAME"], seen["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]) == ("t", "256")
    assert seen["AWS_ACCESS_KEY_ID"].startswith("ASIA")


def test_another_runtime_is_refused_with_the_reason(account: Account) -> None:
    with pytest.raises(ClientError, match=rf"runs Lambda functions on {RUNTIME} .* not on python3\.9"):
        account.function("", Runtime="python3.9")


def test_another_runtime_is_refused_in_a_stack(account: Account) -> None:
    properties = {
        "Runtime": "python3.9",
        "Handler": "app.handler",
        "Role": account.role("lambda.amazonaws.com"),
        "Code": {"ZipFile": "x"},
    }
    template = {"Resources": {"Function": {"Type": "AWS::Lambda::Function", "Properties": properties}}}
    cloudformation = account.client("cloudformation")
    cloudformation.create_stack(StackName="refused", TemplateBody=json.dumps(template))

    def failure() -> Any:
        events = cloudformation.describe_stack_events(StackName="refused")["StackEvents"]
        return [event["ResourceStatusReason"] for event in events if event["ResourceStatus"] == "CREATE_FAILED"]

    assert "not on python3.9" in until(failure)[0]


def test_a_silent_handler_answers_at_once(account: Account) -> None:
    function = account.function(handler("return None"))
    account.invoke(function)

    took = []
    for _ in range(10):
        started = time.perf_counter()
        account.invoke(function)
        took.append(time.perf_counter() - started)

    assert min(took) < 0.045, "MiniStack waits 50 ms for a first log line"


def test_new_code_is_what_runs(account: Account) -> None:
    function = account.function(handler("return 1"))
    assert account.invoke(function) == 1

    account.functions.update_function_code(FunctionName=function, ZipFile=archive({"app.py": handler("return 2")}))

    assert account.invoke(function) == 2


@pytest.mark.without("T5")
def test_without_the_repair_every_exception_looks_the_same(bare: Account) -> None:
    assert bare.invoke(bare.function(RAISES))["errorType"] == "Runtime.HandlerError"


@pytest.mark.without("T15", "T17")
def test_without_the_repair_a_function_is_a_process_of_the_host_with_memory_for_all(bare: Account) -> None:
    told = "return ['STATE_DIR' in os.environ, sys.executable]"
    greedy = handler("import os, sys", "held = b'x' * 300_000_000", told)

    saw_the_host, interpreter = bare.invoke(bare.function(greedy, MemorySize=128, Timeout=30))

    assert saw_the_host
    assert Path(interpreter) != bare.cloud.settings.lambda_python


@pytest.mark.without("T16")
def test_without_the_repair_what_logging_writes_is_lost(bare: Account) -> None:
    lines = ("logging.getLogger().setLevel('INFO')", "logging.getLogger('app').info('told')", "print('plain')")
    function = bare.function(handler("import logging", *lines))

    bare.invoke(function)

    until(lambda: "plain" in bare.logged(function))
    assert "told" not in bare.logged(function)


@pytest.mark.without("speed")
def test_without_the_repair_an_execution_waits_before_it_begins(bare: Account) -> None:
    ended = bare.run_states({}, Start=PASS)

    assert ended["stopDate"] - ended["startDate"] >= timedelta(milliseconds=150)
