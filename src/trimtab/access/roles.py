"""What a role may do."""

from trimtab.types import ROLES, Role


def permits(role: Role, needed: Role) -> bool:
    """Return whether somebody with `role` may do what needs `needed`.

    >>> permits("editor", "viewer"), permits("viewer", "editor")
    (True, False)
    """
    return ROLES.index(role) >= ROLES.index(needed)
