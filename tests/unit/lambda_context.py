"""The context a handler is called with."""

from aws_lambda_powertools.utilities.typing import LambdaContext


class Context(LambdaContext):
    """As far as Powertools reads it."""

    def __init__(self) -> None:
        self._function_name = "start-run"
        self._memory_limit_in_mb = 256
        self._invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:start-run"
        self._aws_request_id = "8c5d9f0e-0000-4000-8000-000000000000"
