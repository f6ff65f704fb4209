"""Runs one page's blocks in their order, the Python ones in one namespace. Called by test_pages.py.

Reads a JSON list of [line, language, text] from stdin. Ends with status 1 at the first block that fails.
"""

import json
import subprocess
import sys
import tempfile
import traceback


def run_python(line: int, text: str, names: dict) -> None:
    # Padded, so that tracebacks name the page's lines.
    exec(compile("\n" * line + text, "page", "exec"), names)


def run_console(text: str, *, folder: str | None = None) -> None:
    commands = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    if not commands:
        raise AssertionError("a console block without a line that starts with '$ '")
    run_shell("\n".join(commands), folder=folder)


def run_shell(text: str, *, folder: str | None = None) -> None:
    subprocess.run(["bash", "-euo", "pipefail", "-c", text], check=True, cwd=folder, stdin=subprocess.DEVNULL)


def main() -> int:
    names: dict = {"__name__": "__main__"}
    for line, language, text in json.load(sys.stdin):
        try:
            if language == "python":
                run_python(line, text, names)
            elif language == "console":
                run_console(text)
            elif language == "console scratch":
                with tempfile.TemporaryDirectory() as folder:
                    run_console(text, folder=folder)
            else:
                run_shell(text)
        except Exception:
            print(f"the {language} block at line {line} failed:\n{text}", file=sys.stderr)
            traceback.print_exc()
            return 1
        sys.stdout.flush()
    return 0


sys.exit(main())
