"""Finds settings that no code reads: what an operator sets must have an effect."""
import pathlib
import re

import common

TABLE = pathlib.PurePosixPath("config/fields.cpp")
FIELD = re.compile(r"at<&(\w+)::(\w+)>")


def check(root: pathlib.Path) -> list[str]:
    if not (root / TABLE).is_file():
        return []
    code = "\n".join((root / path).read_text() for path in common.files(root)
                     if path.suffix in common.SOURCE and path.parts[0] not in ("config", "tests"))
    named = sorted(set(FIELD.findall((root / TABLE).read_text())))
    return [f"{TABLE}: no code reads {owner}::{name}" for owner, name in named
            if not re.search(rf"[.>]{name}\b", code)]
