"""Withdraw: an upload taken out, a wrong file or a request for deletion, and the models that saw it marked."""

from dataclasses import dataclass

from ratchet.contracts.base import Contract
from ratchet.domain.ledger import Ledger, Model, Upload, Withdrawal
from ratchet.domain.ports import Clock, ObjectStore
from ratchet.domain.snapshots import uploads_of


class Withdrawn(Contract):
    """What a withdrawal touched."""

    upload: Upload
    new: bool  # False when it was out already
    models: tuple[str, ...]  # that saw it, oldest first
    serving: str | None = None  # the one of them that serves


@dataclass(frozen=True)
class WithdrawUpload:
    """Every later snapshot lacks the upload; a model that saw it serves on until a better one replaces it."""

    ledger: Ledger
    store: ObjectStore
    clock: Clock

    def __call__(self, pipeline: str, upload: Upload, reason: str, by: str) -> Withdrawn:
        withdrawal = Withdrawal(upload_id=upload.upload_id, reason=reason, by=by, at=self.clock())
        new = self.ledger.withdraw(pipeline, withdrawal)
        models = [model for model in self.ledger.models(pipeline) if self._mark(pipeline, model, upload.upload_id)]
        names = tuple(model.model_name for model in models)
        state = self.ledger.pipeline(pipeline)
        champion = state.champion.model_name if state and state.champion else None
        return Withdrawn(upload=upload, new=new, models=names, serving=champion if champion in names else None)

    def _mark(self, pipeline: str, model: Model, upload_id: str) -> bool:
        saw = any(held.upload_id == upload_id for held in uploads_of(self.ledger, self.store, pipeline, model))
        if saw:
            self.ledger.mark_model(pipeline, model.model_name, upload_id)
        return saw


def mark_new_model(ledger: Ledger, store: ObjectStore, pipeline: str, model: Model) -> None:
    """Marks a model whose run took its snapshot before a withdrawal.

    The model is recorded before the withdrawals are read, and a withdrawal before the models are: one sees the other.
    """
    withdrawn = {withdrawal.upload_id for withdrawal in ledger.withdrawals(pipeline)}
    if not withdrawn:
        return
    for held in uploads_of(ledger, store, pipeline, model):
        if held.upload_id in withdrawn:
            ledger.mark_model(pipeline, model.model_name, held.upload_id)
