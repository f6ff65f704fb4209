"""Pages made from the code are as the code is now."""

import subprocess
import sys

import pytest

from trimtab.types.errors import all_errors


@pytest.mark.parametrize("tool", ["errors_page", "admin_api_page"])
def test_pages_made_by_tools_are_fresh(root, tool):
    done = subprocess.run(
        [sys.executable, "-m", f"tools.{tool}", "--check"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_error_code_is_on_the_page(root):
    page = (root / "docs/reference/errors.md").read_text(encoding="utf-8")
    missing = [cls.code for cls in all_errors() if f"`{cls.code}`" not in page]
    assert not missing


def test_error_codes_are_unique_and_documented():
    classes = all_errors()
    codes = [cls.code for cls in classes]
    assert len(codes) == len(set(codes)), sorted(code for code in codes if codes.count(code) > 1)
    assert all(cls.__doc__ for cls in classes)
