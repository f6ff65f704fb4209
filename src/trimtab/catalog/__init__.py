"""Facts about models as data: what a model can do, and what its tokens cost on a given day.

Owns the packaged table (data/models.json), its format, the rule by which token counts become money, and
the estimate used where a provider never said how many tokens there were.
Promises: a price it is not sure of is missing rather than wrong; a cost without a known price says so by an
empty `price_version`; money is integer nano-USD, rounded once.
Never asks the network, and never branches on a provider's name.
Entry: `Catalog.load`.
"""

from .estimate import estimate_request_tokens, estimate_tokens
from .format import CATALOG_FORMAT, CatalogFile, ModelEntry, PriceEntry, PriceParts, Profile
from .overlay import stack
from .table import Catalog, Cost, Price, packaged_sha256

__all__ = [
    "CATALOG_FORMAT",
    "Catalog",
    "CatalogFile",
    "Cost",
    "ModelEntry",
    "Price",
    "PriceEntry",
    "PriceParts",
    "Profile",
    "estimate_request_tokens",
    "estimate_tokens",
    "packaged_sha256",
    "stack",
]
