"""What we say that calls cost beside what a provider says: its usage export read, compared, each difference named.

Owns the export formats and the rules by which a difference gets its name.
Promises: whatever differs is named once; what cannot be told apart is said so; money is integer nano-USD.
Never asks the network, and never reads calls one by one: sums by quarter of an hour are enough.
Entry: `read_export`, then `compare`.
"""

from .compare import MARGIN_US, Difference, Report, compare
from .exports import Line, merge, read_export

__all__ = ["MARGIN_US", "Difference", "Line", "Report", "compare", "merge", "read_export"]
