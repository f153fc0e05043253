"""What the metrics are told of a push."""

from services.sync.plan import PushResult
from services.sync.schemas import Changes
from shared.observability import metrics


def count(changes: Changes, pushed: PushResult) -> None:
    """Tell the metrics, once the push is committed."""
    for change in changes.values():
        for operation, entries in change.items():
            metrics.RECORDS.labels("pushed", operation).inc(len(entries))
    metrics.CONFLICTS.inc(sum(len(ids) for ids in pushed.resolved.values()))
    metrics.REPAIRS.inc(sum(len(ids) for ids in pushed.repaired.values()))
    metrics.REFUSALS.inc(sum(len(ids) for ids in pushed.refused.values()))
    metrics.UNKNOWN_COLUMNS.inc(pushed.with_unknown_columns)
