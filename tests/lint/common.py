"""What the lint scripts share: which files there are and how a finding is told."""
import pathlib
import re
import subprocess

SOURCE = {".cpp", ".hpp"}
SCRIPT = {".py", ".sh", ".mjs", ".js", ".cmake", ".lua"}


def project_root() -> pathlib.Path:
    return pathlib.Path(__file__).resolve().parents[2]


def files(root: pathlib.Path) -> list[pathlib.PurePosixPath]:
    """Every file of the project as git sees it, or of a plain folder (the samples)."""
    if (root / ".git").exists():
        listed = subprocess.run(
            ["git", "-c", f"safe.directory={root}", "ls-files", "-z", "--cached", "--others",
             "--exclude-standard"],
            cwd=root, check=True, capture_output=True, text=True).stdout.split("\0")
        names = [name for name in listed if name and (root / name).is_file()]
        names = [name for name in names if not name.startswith("tests/lint/samples/")]
    else:
        names = [p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()]
    return [pathlib.PurePosixPath(name) for name in sorted(names)]


def without_comments(text: str) -> str:
    """C++ text with comments and the insides of literals blanked; lines and columns stay."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"'
        r'|"(?:\\.|[^"\\\n])*"|(?<![0-9a-zA-Z])\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)

    def blank(match: re.Match) -> str:
        found = match.group(0)
        if found.startswith(("//", "/*")):
            return re.sub(r"[^\n]", " ", found)
        return found[0] + re.sub(r"[^\n]", " ", found[1:-1]) + found[-1]

    return pattern.sub(blank, text)
