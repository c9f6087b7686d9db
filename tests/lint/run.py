"""Runs the project's own checks over the tree and tells what they found: exit 1 if anything."""
import pathlib
import sys

import common
import coroutines
import layers
import settings
import text

root = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else common.project_root()
findings = [line for module in (layers, text, coroutines, settings) for line in module.check(root)]
print("\n".join(findings))
print(f"lint: {len(common.files(root))} files, {len(findings)} findings")
sys.exit(1 if findings else 0)
