"""DynamoDB: every item, as it is written."""

from typing import Any

from ministack.services import dynamodb

from local.cloud.repairs.durability.codec import Codec, key_of
from local.cloud.repairs.durability.documents import Record, entries, restored
from local.cloud.repairs.durability.journal import Journal
from local.cloud.repairs.patching import Function, replace

SERVICE = "dynamodb"
_ITEMS = "items"


class Tables:
    """Journals items under the id of their table: a table of the same name that comes later is another one."""

    def __init__(self, journal: Journal, codec: Codec) -> None:
        self._journal = journal
        self._codec = codec

    def install(self) -> None:
        """Follows every write; a transaction lasts whole or not at all."""
        replace(dynamodb, "_set_item", "(table, pk_val, sk_val, item)", self._set)
        replace(dynamodb, "_remove_item", "(table, pk_val, sk_val)", self._remove)
        replace(dynamodb, "_items_replaced", "(table)", self._replaced)
        replace(dynamodb, "_transact_write_items", "(data)", self._together)

    def restore(self, base: dict[str, Any], records: list[Record]) -> dict[str, Any]:
        """What a clean stop saved, with the tables as journaled and journaled items in those they were written to."""
        saved = {table["TableId"]: table["items"] for table in entries(base, "tables")}
        state = restored(base, [record for record in records if record[0] != _ITEMS])
        tables = {table["TableId"]: table for table in entries(state, "tables")}
        for table in tables.values():
            table.setdefault("items", saved.get(table["TableId"], {}))
        for store, key, item in records:
            if store != _ITEMS or key[0] not in tables:
                continue
            table, (_, pk, sk) = tables[key[0]], key
            if item is not None:
                table["items"].setdefault(pk, {})[sk] = item
            elif sk in table["items"].get(pk, {}):
                del table["items"][pk][sk]
                if not table["items"][pk]:
                    del table["items"][pk]
        for table in tables.values():
            table["ItemCount"] = sum(map(len, table["items"].values()))
            table["TableSizeBytes"] = table["ItemCount"] * 200  # as MiniStack counts
        return state

    def _set(self, original: Function) -> Function:
        def set_item(table: dict[str, Any], pk: Any, sk: Any, item: Any) -> Any:
            old = original(table, pk, sk, item)
            self._put(table, pk, sk, item)
            return old

        return set_item

    def _remove(self, original: Function) -> Function:
        def remove_item(table: dict[str, Any], pk: Any, sk: Any) -> Any:
            old = original(table, pk, sk)
            if old is not None:
                self._put(table, pk, sk, None)
            return old

        return remove_item

    def _replaced(self, original: Function) -> Function:
        def items_replaced(table: dict[str, Any]) -> None:
            original(table)
            with self._journal.together():
                for pk, items in table["items"].items():
                    for sk, item in items.items():
                        self._put(table, pk, sk, item)

        return items_replaced

    def _together(self, original: Function) -> Function:
        def transact(data: Any) -> Any:
            with self._journal.together():
                return original(data)

        return transact

    def _put(self, table: dict[str, Any], pk: Any, sk: Any, item: Any) -> None:
        text = None if item is None else self._codec.encode(item)
        self._journal.put(SERVICE, _ITEMS, key_of((table["TableId"], pk, sk)), text)
