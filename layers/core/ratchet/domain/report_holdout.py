"""Figures of the holdout that a run was scored on."""

from ratchet.contracts.run import Selection
from ratchet.domain.ports import ObjectStore
from ratchet.domain.report import ReportedDefinition, Scores
from ratchet.domain.report_scores import MAX_ROWS, Scored, sampled, scores_of
from ratchet.domain.scores import holdout_size, holdout_stream, predictions


def scores_in(store: ObjectStore, selection: Selection, definition: ReportedDefinition) -> Scores:
    """Reads the holdout and what the models answered for it; a large holdout is sampled."""
    size = holdout_size(store, selection.holdout_uri)
    one_of = -(-size // MAX_ROWS)
    rows = [row for row in holdout_stream(store, selection.holdout_uri) if sampled(row.row, one_of)]
    answers = {
        model.role: [by_row[row.row] for row in rows]
        for model in selection.models_to_score
        for by_row in (predictions(store, model.output_uri, (row.row for row in rows)),)
    }
    return scores_of(definition, Scored(rows, answers["candidate"], answers.get("champion"), of=size))
