"""Refuses an include that the table in docs/architecture.md does not allow, and heavy headers in .hpp."""
import pathlib
import re

import common

# Headers that cost seconds in every translation unit: only .cpp files may include them.
HEAVY = ("openssl/", "simdjson", "hiredis/", "sqlite3.h", "yaml-cpp/", "CLI/", "spdlog/",
         "boost/asio", "boost/beast", "boost/json", "benchmark/", "zlib.h", "brotli/", "zstd.h")
# Headers of one folder's inside that no other folder includes may have what they need.
PRIVATE = {"mock/tls.hpp", "mock/wire.hpp"}
SIBLINGS = {"auth", "pool", "usage"}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^">]+)[">]', re.MULTILINE)
ROW = re.compile(r"^\| `([a-z]+)/` \|.*\|([^|]*)\|\s*$", re.MULTILINE)


def read_table(page: str) -> dict[str, set[str]]:
    return {folder: set(uses.split()) for folder, uses in ROW.findall(page)}


def check(root: pathlib.Path) -> list[str]:
    table = read_table((root / "docs/architecture.md").read_text())
    found = []
    if len(table) < 3:
        return ["docs/architecture.md: no table of folders found"]
    for folder in SIBLINGS & table.keys():
        for other in table[folder] & SIBLINGS:
            found.append(f"docs/architecture.md: {folder} may not use {other}")
    for path in common.files(root):
        if path.suffix not in common.SOURCE:
            continue
        folder = path.parts[0]
        if folder not in table:
            found.append(f"{path}: folder {folder}/ is not in the table of docs/architecture.md")
            continue
        text = (root / path).read_text()
        for match in INCLUDE.finditer(text):
            quoted, target = match.group(1) == '"', match.group(2)
            line = text.count("\n", 0, match.start()) + 1
            where = f"{path}:{line}"
            if not quoted:
                if target.startswith(HEAVY) and path.suffix == ".hpp" \
                        and folder != "tests" and str(path) not in PRIVATE:
                    found.append(f"{where}: heavy header <{target}> in a header; include it in the .cpp")
                if target.split("/")[0] in table:
                    found.append(f"{where}: own header <{target}> in angle brackets")
                continue
            other = target.split("/")[0]
            if target in PRIVATE and other != folder:
                found.append(f"{where}: \"{target}\" is private to {other}/")
            if "/" not in target or ".." in target or not (root / target).is_file():
                found.append(f"{where}: \"{target}\" is not a path from the top folder")
            elif other != folder and other not in table[folder] and target not in table[folder]:
                found.append(f"{where}: {folder}/ may not include \"{target}\"")
    return found
