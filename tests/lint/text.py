"""Refuses leftovers in any file, and sources that do not begin by saying what they hold."""
import pathlib
import re

import common

# Spelled so that this file does not find itself.
LEFTOVERS = [
    (re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b"), "leftover mark"),
    (re.compile(r"(?<![\w.])/(?:ho" r"me|ro" r"ot|Us" r"ers|wo" r"rk)/[\w.]"), "absolute path of one machine"),
    (re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE), "conflict mark"),
]
SHEBANG_OR_COMMENT = ("//", "#", "/*", '"""', "--", "<!--")
BINARY = {".png", ".ico", ".gz", ".bin", ".lock"}
SKIPPED = {"package-lock.json"}


def check(root: pathlib.Path) -> list[str]:
    found = []
    for path in common.files(root):
        raw = (root / path).read_bytes()
        if path.suffix in BINARY or path.name in SKIPPED or "corpus" in path.parts or b"\0" in raw:
            continue
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            found.append(f"{path}: not UTF-8")
            continue
        for pattern, what in LEFTOVERS:
            for match in pattern.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{path}:{line}: {what}: {match.group(0).strip()}")
        if path.suffix not in common.SOURCE | common.SCRIPT and path.name != "CMakeLists.txt":
            continue
        lines = text.splitlines()
        first = next((line for line in lines if not line.startswith("#!")), "")
        if not first.lstrip().startswith(SHEBANG_OR_COMMENT) or len(first.strip(" /#*-\"")) < 8:
            found.append(f"{path}:1: the file does not begin with a comment that says what it holds")
        if path.suffix == ".hpp" and "#pragma once" not in text:
            found.append(f"{path}:1: no #pragma once")
        if text and not text.endswith("\n"):
            found.append(f"{path}:{len(lines)}: no newline at the end")
    return found
