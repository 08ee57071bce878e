"""An endpoint that was deleted because nobody asked it comes back when somebody does."""

from dataclasses import dataclass

from ratchet.domain.errors import DependencyBusyError, ModelMissingError, PipelineUnknownError
from ratchet.domain.ledger import Ledger
from ratchet.domain.ports import Endpoints
from ratchet.domain.settling import put_back


@dataclass(frozen=True)
class Wake:
    """Starts a champion's endpoint; called again, it changes nothing."""

    ledger: Ledger
    endpoints: Endpoints

    def __call__(self, pipeline: str) -> bool:
        """Whether it serves already. PipelineUnknownError, or ModelMissingError when there is nothing to start."""
        state = self.ledger.pipeline(pipeline)
        if state is None:
            raise PipelineUnknownError(f"there is no pipeline {pipeline}")
        if state.champion is None:
            raise ModelMissingError(f"no model serves {pipeline} yet")
        if state.asleep_since is not None:
            self.ledger.wake(pipeline)
        try:
            put_back(self.endpoints, state.champion, {"ratchet:pipeline": pipeline})
        except DependencyBusyError:
            return False
        return True
