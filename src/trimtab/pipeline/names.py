"""What a name that a caller wrote means under a snapshot: pure, so that a change can be looked at before it is made."""

from trimtab.types import AmbiguousModel, CallerError, ModelNotFound, Snapshot


def full_name(snapshot: Snapshot, name: str) -> str | None:
    """Return the `provider/model` that a request's `model` means, or None where the default model must stand in.

    The first that fits: a declared model; `provider/model` of a provider that is there; the one provider that
    lists the name; the one provider that takes any name.

    Args:
        snapshot: what is in force, or would be.
        name: what the caller wrote; no route.

    Raises:
        CallerError: the name is empty, and there is no default model.
        ModelNotFound: nobody serves it, and there is no default model.
        AmbiguousModel: a bare name that several providers serve.
    """
    if not name:
        if snapshot.default_model:
            return snapshot.default_model
        raise CallerError('`model` is missing; name one, such as "openai/gpt-4o-mini"', param="model")
    provider, slash, rest = name.partition("/")
    if name in snapshot.targets or (
        slash and rest and provider in {spec.name for spec in snapshot.providers}
    ):
        return name
    listed = [spec.name for spec in snapshot.providers if name in spec.models]
    if not listed:
        listed = [spec.name for spec in snapshot.providers if not spec.models]
    if len(listed) == 1:
        return f"{listed[0]}/{name}"
    if listed:
        choices = ", ".join(f"{p}/{name}" for p in sorted(listed))
        raise AmbiguousModel(f"several providers may serve {name!r}; write one of: {choices}", param="model")
    if snapshot.default_model:
        return None
    known = ", ".join(n for n, _ in served_names(snapshot)[:12]) or "none"
    raise ModelNotFound(f"nobody serves the model {name!r}; there are: {known}", param="model")


def served_names(snapshot: Snapshot) -> list[tuple[str, str]]:
    """Return (name, owner) of every route and known model."""
    rows = [(f"route/{name}", "trimtab") for name in sorted({route.name for route in snapshot.routes})]
    for spec in snapshot.providers:
        rows.extend((f"{spec.name}/{model}", spec.name) for model in spec.models)
    known = {name for name, _ in rows}
    rows.extend((model, model.split("/", 1)[0]) for model in snapshot.targets if model not in known)
    return rows
