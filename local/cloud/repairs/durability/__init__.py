"""What was acknowledged survives a kill: MiniStack keeps its state in memory, and saves it only at a clean stop."""

from local.cloud.repairs.durability import codec, deliveries, objects
from local.cloud.repairs.durability.codec import Codec
from local.cloud.repairs.durability.documents import Documents
from local.cloud.repairs.durability.duties import Duties
from local.cloud.repairs.durability.executions import Executions
from local.cloud.repairs.durability.journal import Journal
from local.cloud.repairs.durability.life import Life
from local.cloud.repairs.durability.queues import Queues
from local.cloud.repairs.durability.requests import Requests
from local.cloud.repairs.durability.tables import Tables
from local.cloud.repairs.durability.telemetry import Telemetry
from local.cloud.settings import CloudSettings

__all__ = ["apply"]


def apply(settings: CloudSettings) -> None:
    """Journals every change before the answer to the request that made it, and reads the journal at the next start."""
    codec.check()
    journal = Journal(settings.journal_file)
    text = Codec(settings.journal_file.with_suffix(".blobs"))
    duties = Duties(journal, text)
    documents, tables, queues = Documents(journal, text), Tables(journal, text), Queues(journal, text)
    executions, telemetry = Executions(journal, text, duties), Telemetry(journal, text)
    for followed in (tables, queues, executions, telemetry):
        followed.install()
    objects.install()
    deliveries.install(duties)
    requests = Requests(journal, documents)
    requests.install()
    Life(settings, journal, text, documents, tables, queues, executions, telemetry, duties, requests).install()
