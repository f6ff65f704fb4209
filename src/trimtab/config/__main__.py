"""`python -m trimtab.config > docs/reference/configuration.md` writes the reference page."""

import sys

from .reference import reference_page

sys.stdout.write(reference_page())
