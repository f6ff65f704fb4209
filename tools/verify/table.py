"""The checks, in the order they run: name -> (module under `checks`, what it is about)."""

CHECKS: dict[str, tuple[str, str]] = {
    "architecture": ("architecture", "rooms, sizes, contracts, dependencies"),
    "import": ("import_cost", "import trimtab"),
    "install": ("install", "distributions and size without [local]"),
    "coverage": ("coverage", "lines covered in rooms that run in process"),
    "mutants": ("mutants", "mutants killed in ledger framing, money and stream stages"),
    "clients": ("clients", "the openai client and LangChain"),
    "faults": ("faults", "upstream faults"),
    "connections": ("connections", "slow readers, idle connections, clients that go away"),
    "restart": ("restart", "calls across SIGTERM and a new start"),
    "chaos": ("chaos", "kill -9 under load, 50 times one process, 10 times all at once"),
    "bench": ("bench", "CPU, latency, memory, books"),
    "soak": ("soak", "memory over a million requests"),
    "peers": ("peers", "LiteLLM and TensorZero beside it"),
    "bare-clone": ("bare_clone", "make up and make test from a bare clone, without root"),
}
