"""Which stack a command talks to, and what it says when there is none."""

from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from botocore.stub import Stubber
from typer.testing import CliRunner

from cli import run
from cli.errors import CommandError, explain
from cli.main import app
from cli.stack import Choice, Outputs, Stack, Target, embedded_cloud
from ratchet.contracts.run import DefinitionRef
from tests.template.reading import functions as template_functions
from tests.unit.cli.conftest import OUTPUTS, FakeFunctions


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[Choice]:
    """The choices that commands connected with; none of them connects."""
    seen: list[Choice] = []

    def connect(context: object) -> Stack:
        seen.append(Choice.of(context))  # type: ignore[arg-type]
        raise CommandError("not connected")

    monkeypatch.setattr(Stack, "connect", connect)
    monkeypatch.delenv("RATCHET_TARGET", raising=False)
    monkeypatch.delenv("RATCHET_STACK", raising=False)
    return seen


@pytest.mark.parametrize(
    ("arguments", "environment", "choice"),
    [
        ([], {}, Choice(None, Target.LOCAL)),
        (["--aws"], {}, Choice(None, Target.AWS)),
        (["--aws", "--stack", "mine"], {}, Choice("mine", Target.AWS)),
        ([], {"RATCHET_TARGET": "aws", "RATCHET_STACK": "mine"}, Choice("mine", Target.AWS)),
        (["--aws"], {"RATCHET_TARGET": "local"}, Choice(None, Target.AWS)),
    ],
)
def test_aws_is_never_chosen_by_accident(
    chosen: list[Choice], runner: CliRunner, arguments: list[str], environment: dict[str, str], choice: Choice
) -> None:
    runner.invoke(app, [*arguments, "runs"], env=environment)
    assert chosen == [choice]


def test_a_wrong_target_is_refused(chosen: list[Choice], runner: CliRunner) -> None:
    ended = runner.invoke(app, ["runs"], env={"RATCHET_TARGET": "azure"})
    assert ended.exit_code != 0
    assert chosen == []


def test_a_cloud_that_is_down_is_said_with_the_way_out(
    runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATCHET_CLOUD", str(tmp_path))
    monkeypatch.delenv("RATCHET_TARGET", raising=False)
    ended = runner.invoke(app, ["runs"])
    assert ended.exit_code == 1
    assert ended.stderr.startswith("Error: The embedded cloud is not running. Start it with `ratchet local up`")


def test_the_embedded_cloud_keeps_the_port_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_CLOUD", str(tmp_path))
    assert embedded_cloud().settings.port == 4566
    (tmp_path / "cloud.json").write_text('{"port": 5001, "account": "111122223333", "region": "eu-west-1"}')
    found = embedded_cloud().settings
    assert (found.port, found.account, found.region) == (5001, "111122223333", "eu-west-1")
    assert embedded_cloud(6001).settings.port == 6001


def test_outputs_that_lack_something_are_named() -> None:
    lacking = {name: value for name, value in OUTPUTS.items() if name not in ("LedgerTableName", "Stage")}
    with pytest.raises(CommandError, match="The stack mine lacks the outputs LedgerTableName, Stage"):
        Outputs.of("mine", lacking)


def test_outputs_come_from_cloudformation(monkeypatch: pytest.MonkeyPatch) -> None:
    session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
    formation = session.client("cloudformation")
    monkeypatch.setattr(session, "client", lambda service: formation)
    outputs = [{"OutputKey": name, "OutputValue": value} for name, value in OUTPUTS.items()]
    described = {"StackName": "mine", "CreationTime": datetime.now(UTC), "StackStatus": "CREATE_COMPLETE"}
    with Stubber(formation) as stub:
        stub.add_response("describe_stacks", {"Stacks": [{**described, "Outputs": outputs}]}, {"StackName": "mine"})
        stub.add_response("describe_stacks", {"Stacks": [described]})
        stub.add_client_error("describe_stacks", "ValidationError", "Stack with id absent does not exist")
        assert Stack("mine", session, Target.LOCAL).outputs.data_bucket_name == "data"
        with pytest.raises(CommandError, match="The stack other lacks the outputs DataBucketName"):
            _ = Stack("other", session, Target.AWS).outputs
        with pytest.raises(CommandError, match="There is no stack absent on the embedded cloud"):
            _ = Stack("absent", session, Target.LOCAL).outputs


def test_a_long_invocation_is_waited_for_and_not_repeated() -> None:
    session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
    longest = max(function.get("Timeout", 3) for function in template_functions().values())
    waits = Stack("mine", session, Target.AWS).functions.meta.config.read_timeout  # type: ignore[attr-defined]
    assert waits > longest > 60


def test_an_unknown_pipeline_is_named_beside_those_that_exist(stack: Stack) -> None:
    with pytest.raises(CommandError, match=r"no pipeline trafic \(it has: none yet\)"):
        stack.pipeline("trafic")
    reference = DefinitionRef(definition_id="d", uri="s3://a/d", data_hash="h", settle_seconds=1, on_upload=True)
    stack.ledger.apply_definition("traffic", reference)
    with pytest.raises(CommandError, match=r"no pipeline trafic \(it has: traffic\)"):
        stack.pipeline("trafic")


def test_a_failing_function_is_told_in_its_own_words(stack: Stack, functions: FakeFunctions) -> None:
    functions.errors["start-run"] = {"errorType": "PipelineUnknownError", "errorMessage": "No definition of x."}
    with pytest.raises(CommandError, match=r"start-run failed with PipelineUnknownError: No definition of x\."):
        run.start_run(stack, "x", reason="manual")


def test_expected_errors_become_one_paragraph() -> None:
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "no s3:GetObject"}}, "GetObject")
    assert explain(denied).startswith("GetObject failed with AccessDenied: no s3:GetObject. Use credentials")
    other = ClientError({"Error": {"Code": "NoSuchKey", "Message": "gone"}}, "GetObject")
    assert "`ratchet status`" in explain(other)
    assert "Log in to AWS" in explain(NoCredentialsError())
    assert "`ratchet local status`" in explain(EndpointConnectionError(endpoint_url="http://127.0.0.1:1"))
    assert explain(CommandError("as it is")) == "as it is"
