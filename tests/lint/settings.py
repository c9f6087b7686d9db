"""Finds settings that no code reads: what an operator sets must have an effect."""
import pathlib
import re

import common

TABLES = "config/fields*.cpp"
FIELD = re.compile(r"at<&(\w+)::(\w+)>")


def check(root: pathlib.Path) -> list[str]:
    code = "\n".join((root / path).read_text() for path in common.files(root)
                     if path.suffix in common.SOURCE and path.parts[0] not in ("config", "tests"))
    return [f"{table.relative_to(root)}: no code reads {owner}::{name}"
            for table in sorted(root.glob(TABLES))
            for owner, name in sorted(set(FIELD.findall(table.read_text())))
            if not re.search(rf"[.>]{name}\b", code)]
