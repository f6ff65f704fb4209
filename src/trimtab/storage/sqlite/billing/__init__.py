"""What calls cost, added up from the calls themselves.

Owns the SQL of a bill, and of what budgets are told. Promises: every purpose is in both.
Never keeps a sum: the rollups do that, for live traffic alone.
Entry: `bill`, then `together`; `spend`.
"""

from .spend import spend
from .sums import bill, days, together

__all__ = ["bill", "days", "spend", "together"]
