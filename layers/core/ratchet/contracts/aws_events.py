"""Status events of SageMaker and Step Functions: hints; every reader describes the resource before it decides."""

from pydantic import Field

from ratchet.contracts.base import ForeignContract


class EndpointStateDetail(ForeignContract):
    """`detail` of "SageMaker Endpoint State Change"."""

    endpoint_name: str = Field(alias="EndpointName")
    endpoint_status: str = Field(alias="EndpointStatus")


class EndpointStateEvent(ForeignContract):
    """EventBridge event of an endpoint; statuses are written IN_SERVICE where DescribeEndpoint says InService."""

    detail: EndpointStateDetail


class ExecutionStatusDetail(ForeignContract):
    """`detail` of "Step Functions Execution Status Change"."""

    execution_arn: str = Field(alias="executionArn")
    state_machine_arn: str = Field(alias="stateMachineArn")
    name: str
    status: str


class ExecutionStatusEvent(ForeignContract):
    """EventBridge event of a Standard execution."""

    detail: ExecutionStatusDetail

    @property
    def pipeline(self) -> str:
        """A retrain execution is named `<pipeline>-g<fence>`."""
        return self.detail.name.rpartition("-g")[0]
