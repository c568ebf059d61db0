"""Which page of an SQLite database is what, read from the pages themselves (sqlite.org/fileformat2.html, section 1)."""

from __future__ import annotations

import struct

HEADER = 100  # bytes of the database's head, on page 1
_KINDS = {2: "index interior", 5: "table interior", 10: "index leaf", 13: "table leaf"}
_POINTER_MAP_ROOT = 52  # not 0: there are pointer map pages
_TRUNK, _PAGE_SIZE = 32, 16


class Pages:
    """The pages of one database, numbered from 1. kinds: number -> what it is; roots: table or index -> its root."""

    def __init__(self, raw: bytes) -> None:
        (size,) = struct.unpack_from("!H", raw, _PAGE_SIZE)
        self.size = 65536 if size == 1 else size
        self.raw = raw
        self.pointer_maps = struct.unpack_from("!I", raw, _POINTER_MAP_ROOT)[0] != 0
        self.kinds: dict[int, str] = {}
        self._tree(1)
        self.kinds[1] = "schema root"
        for root in self._roots():
            self._tree(root)
        self._free(struct.unpack_from("!I", raw, _TRUNK)[0])

    def page(self, number: int) -> bytes:
        return self.raw[(number - 1) * self.size : number * self.size]

    def of(self, kind: str) -> list[int]:
        return [number for number, found in sorted(self.kinds.items()) if found == kind]

    def cells(self, number: int) -> list[int]:
        """Where the cells of a page of a tree begin, from the page's beginning."""
        page, head = self.page(number), HEADER if number == 1 else 0
        (count,) = struct.unpack_from("!H", page, head + 3)
        first = head + (12 if page[head] in (2, 5) else 8)
        return list(struct.unpack_from(f"!{count}H", page, first))

    def _tree(self, number: int) -> None:
        page, head = self.page(number), HEADER if number == 1 else 0
        kind = page[head]
        self.kinds[number] = _KINDS[kind]
        for at in self.cells(number):
            if kind in (2, 5):
                self._tree(struct.unpack_from("!I", page, at)[0])
                at += 4
            if kind != 5:
                self._overflow(page, at, kind)
        if kind in (2, 5):
            self._tree(struct.unpack_from("!I", page, head + 8)[0])

    def _overflow(self, page: bytes, at: int, kind: int) -> None:
        length, at = _varint(page, at)
        if kind == 13:
            _, at = _varint(page, at)
        most = self.size - 35 if kind == 13 else (self.size - 12) * 64 // 255 - 23
        if length <= most:
            return
        least = (self.size - 12) * 32 // 255 - 23
        kept = least + (length - least) % (self.size - 4)
        at += kept if kept <= most else least
        (following,) = struct.unpack_from("!I", page, at)
        while following:
            self.kinds[following] = "overflow"
            (following,) = struct.unpack_from("!I", self.page(following), 0)

    def _roots(self) -> list[int]:
        """Of the schema's rows: (type, name, table, root page, SQL)."""
        found = []
        for number in [n for n, kind in self.kinds.items() if kind == "table leaf" or n == 1]:
            page = self.page(number)
            for at in self.cells(number):
                _, at = _varint(page, at)
                _, at = _varint(page, at)
                head, types_at = _varint(page, at)
                types, place = [], types_at
                while place < at + head:
                    kind, place = _varint(page, place)
                    types.append(kind)
                body = at + head
                for kind in types[:3]:
                    body += (kind - 13) // 2
                width = {1: 1, 2: 2, 3: 3, 4: 4}.get(types[3], 0)
                root = int.from_bytes(page[body : body + width], "big") if width else int(types[3] == 9)
                if root:
                    found.append(root)
        return found

    def _free(self, trunk: int) -> None:
        while trunk:
            self.kinds[trunk] = "freelist trunk"
            following, count = struct.unpack_from("!II", self.page(trunk), 0)
            for leaf in struct.unpack_from(f"!{count}I", self.page(trunk), 8):
                self.kinds[leaf] = "freelist leaf"
            trunk = following


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for number in range(9):
        byte = data[at]
        at += 1
        if number == 8:
            return value << 8 | byte, at
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value, at
