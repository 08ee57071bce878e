"""The environment, typed."""

import pytest

from ratchet.domain.errors import SettingsMissingError
from ratchet.settings import DeployEndpointSettings, StartRunSettings, ValidateDataSettings, on_lambda


def test_a_function_reads_its_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGER_TABLE_NAME", "ledger")
    monkeypatch.setenv("RETRAIN_STATE_MACHINE_ARN", "arn:aws:states:::stateMachine:retrain")
    settings = StartRunSettings.load()
    assert settings.ledger_table_name == "ledger"
    assert settings.retrain_state_machine_arn == "arn:aws:states:::stateMachine:retrain"


@pytest.mark.parametrize("value", [None, ""])
def test_every_missing_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.setenv("LEDGER_TABLE_NAME", "ledger")
    for name in ("RESOURCE_PREFIX", "STAGE", "RETRAIN_STATE_MACHINE_ARN"):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(SettingsMissingError, match="RESOURCE_PREFIX, STAGE, RETRAIN_STATE_MACHINE_ARN"):
        DeployEndpointSettings.load()


@pytest.mark.parametrize("value", ["many", "-1", "1.5"])
def test_a_number_is_a_whole_number(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    for name in ValidateDataSettings.fields():
        monkeypatch.setenv(name.upper(), "1024")
    assert ValidateDataSettings.load().large_upload_bytes == 1024
    monkeypatch.setenv("LARGE_UPLOAD_BYTES", value)
    with pytest.raises(SettingsMissingError, match="LARGE_UPLOAD_BYTES"):
        ValidateDataSettings.load()


def test_lambda_is_known_by_its_own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_LAMBDA_FUNCTION_NAME", raising=False)
    assert not on_lambda()
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "start-run")
    assert on_lambda()
