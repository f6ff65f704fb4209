"""What calls cost, added up from the calls themselves.

Owns the SQL of a bill. Promises: every purpose is in it, and a file of an earlier version too.
Never keeps a sum: the rollups do that, for live traffic alone.
Entry: `of_file`, then `together`.
"""

from .sums import days, of_file, together

__all__ = ["days", "of_file", "together"]
