"""Refuses coroutine code that some compilers get wrong or that outlives what it refers to.

The rules and their reasons are in CONTRIBUTING.md. This is a look at the text, a statement at a time;
clang-tidy's check for capturing lambda coroutines works on the syntax tree and runs besides.
"""
import pathlib
import re

import common

DETACHED = re.compile(r"\b(?:std::)?suspend_never\s+initial_suspend\b")
SPAWN_LAMBDA = re.compile(r"\bspawn\s*\(\s*(?:\"[^\"]*\"\s*,\s*)?\[")
LAMBDA = re.compile(r"\[(?P<captures>[^\[\]]*)\]\s*(?:<[^>]*>\s*)?(?:\([^()]*(?:\([^()]*\)[^()]*)*\))?\s*"
                    r"(?:mutable\s*|noexcept\s*|->\s*[\w:<>,\s*&]+?)*\{")
CONDITION = re.compile(r"\b(?:if|while|switch)\s*(?:constexpr\s*)?\(")
CORO_SIGNATURE = re.compile(r"\btask<[^;{}()]*>\s+[\w:]+\s*\((?P<parameters>[^;{}]*?)\)\s*(?:const\s*)?(?:noexcept\s*)?[{;]")


def closing(text: str, at: int) -> int:
    """The index of the bracket that closes the one at `at`, or the end."""
    pairs = {"(": ")", "{": "}", "[": "]"}
    depth, opened, closed = 0, text[at], pairs[text[at]]
    for i in range(at, len(text)):
        if text[i] == opened:
            depth += 1
        elif text[i] == closed:
            depth -= 1
            if depth == 0:
                return i
    return len(text)


def statements(text: str):
    """Pieces between ; and block braces, with the offset each begins at."""
    start = 0
    for i, c in enumerate(text):
        if c == ";" or c == "}" or (c == "{" and re.search(r"[)\w>]\s*$", text[start:i])
                                    and not re.search(r"[\w>]\s*$", text[start:i])):
            yield start, text[start:i]
            start = i + 1
    yield start, text[start:]


def without_control(start: int, piece: str):
    """Cuts `if (...)`, `for (...)`, `while (...)` and `else` off the front of a statement."""
    while head := re.match(r"\s*(?:else\b|(?:if|while|for|switch)\s*(?:constexpr\s*)?(?=\())", piece):
        end = head.end()
        if piece[end:end + 1] == "(":
            end = closing(piece, end) + 1
        start, piece = start + end, piece[end:]
    return start, piece


def conditional_around(piece: str) -> bool:
    """A ?: that has the co_await as an operand, or makes a temporary among its arguments."""
    at = piece.find("co_await")
    for mark in re.finditer(r"\?", piece):
        if ":" not in re.sub(r"::", "  ", piece[mark.end():]):
            continue
        if at > mark.start():
            return True
        between = piece[at:mark.start()]
        depth = between.count("(") - between.count(")")
        if depth <= 0:
            return True  # the awaited value is the condition
        rest = piece[mark.end():]
        operands, open_brackets = "", 0
        for c in rest:
            open_brackets += (c in "([{") - (c in ")]}")
            if open_brackets < 0:
                break
            operands += c
        # Two literals stay plain pointers; a literal beside something else may become an object.
        if re.match(r'\s*"[^"]*"\s*:\s*"[^"]*"', operands):
            continue
        if re.search(r"[\"({]", operands):
            return True
    return False


def check_text(path, raw: str) -> list[str]:
    text = common.without_comments(raw)
    found = []

    def tell(at: int, what: str) -> None:
        found.append(f"{path}:{text.count(chr(10), 0, at) + 1}: {what}")

    if path.as_posix() != "net/task.cpp":
        for match in DETACHED.finditer(text):
            tell(match.start(), "a detached coroutine of its own; start roots with net::spawn")
    for match in SPAWN_LAMBDA.finditer(text):
        tell(match.start(), "spawn of a lambda: its captures die before the coroutine; use a function")
    for match in LAMBDA.finditer(text):
        body_at = match.end() - 1
        body = text[body_at:closing(text, body_at)]
        if match.group("captures").strip() and re.search(r"\bco_(?:await|return|yield)\b", body):
            tell(match.start(), "a coroutine lambda with captures; pass what it needs as parameters")
    if "co_await" not in text:
        return found
    for match in CONDITION.finditer(text):
        opening = match.end() - 1
        inside = text[opening:closing(text, opening)]
        if "co_await" in inside and not match.group(0).startswith("while"):
            # An init-statement may wait: `if (auto r = co_await f(); r)`.
            last = inside.rsplit(";", 1)[-1]
            if "co_await" in last:
                tell(match.start(), "co_await in a condition; name the value, then test it")
    for start, piece in statements(text):
        start, piece = without_control(start, piece)
        at = piece.find("co_await")
        if at < 0:
            continue
        if piece.count("co_await") > 1:
            tell(start + at, "two co_await in one statement; name the first value")
        if conditional_around(piece):
            tell(start + at, "co_await beside a conditional operator; use if and a named value")
        if re.search(r"(?:\breturn|=|\(|,)\s*[\w:<>]*\s*\{[^{}]*$", piece[:at]):
            tell(start + at, "co_await inside a braced list; name the value first")
    return found


def check(root: pathlib.Path) -> list[str]:
    found = []
    for path in common.files(root):
        if path.suffix in common.SOURCE:
            found += check_text(path, (root / path).read_text())
    return found
