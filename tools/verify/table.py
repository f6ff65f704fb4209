"""The checks of each issue, in the order they run."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """What finds out about some promises: a module under `checks`, or tests, one promise each."""

    about: str
    module: str = ""
    tests: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(promise, pytest's arguments); a file that is not there yet is a promise not found out."""


Checks = dict[str, Check]

SPINE: Checks = {
    "architecture": Check("rooms, sizes, contracts, dependencies", "architecture"),
    "import": Check("import trimtab", "import_cost"),
    "install": Check("distributions and size without [local]", "install"),
    "coverage": Check("lines covered in rooms that run in process", "coverage"),
    "mutants": Check("mutants killed in ledger framing, money and stream stages", "mutants"),
    "clients": Check("the openai client and LangChain", "clients"),
    "faults": Check("upstream faults", "faults"),
    "connections": Check("slow readers, idle connections, clients that go away", "connections"),
    "restart": Check("calls across SIGTERM and a new start", "restart"),
    "chaos": Check("kill -9 under load, 50 times one process, 10 times all at once", "chaos"),
    "bench": Check("CPU, latency, memory, books", "bench"),
    "soak": Check("memory over a million requests", "soak"),
    "peers": Check("LiteLLM and TensorZero beside it", "peers"),
    "bare-clone": Check("make up and make test from a bare clone, without root", "bare_clone"),
}

FACE: Checks = {
    "architecture": Check("rooms, sizes, contracts, dependencies", "architecture"),
    "console": Check(
        "every page and action in a browser",
        tests=(
            (
                "every page in both languages, light and dark, 1280 and 390 px, empty and full: no console error, "
                "no request off loopback, nothing serious from axe-core, no sideways scroll",
                ("tests/browser/test_walk.py",),
            ),
            (
                "every action, by mouse and keyboard",
                ("tests/browser/test_actions.py", "tests/browser/test_watching.py"),
            ),
            (
                "the same over a running installation",
                ("tests/browser/test_running.py", "tests/e2e/test_console.py"),
            ),
        ),
    ),
    "million": Check("pages, search, one call and disk at 1,000,000 calls", "million"),
    "tail": Check(
        "the live tail",
        tests=(
            (
                "a call shows at most 1 s after it ended",
                (
                    "tests/browser/test_running.py::test_a_call_shows_in_the_live_tail_within_a_second_and_is_erased_for_good",
                ),
            ),
        ),
    ),
    "roles": Check(
        "who may do what",
        tests=(
            (
                "a viewer changes nothing, an editor no users or secrets: every page",
                ("tests/unit/console/test_roles.py",),
            ),
            ("the same on every route of the OpenAPI document", ("tests/unit/api/test_roles.py",)),
            (
                "schemathesis finds no way around it, and no server error",
                ("tests/integration/test_api_schema.py",),
            ),
        ),
    ),
    "attacks": Check(
        "what is tried and must fail",
        tests=(
            ("secrets reach no page, log, ledger, audit entry or error", ("tests/e2e/test_secrets.py",)),
            ("CSRF and session fixation", ("tests/unit/console/test_shell.py",)),
            (
                "CSV formula injection",
                ("tests/unit/console/test_calls_pages.py::test_no_cell_of_a_download_is_a_formula",),
            ),
            ("stored XSS by model output, 50 payloads", ("tests/unit/console/test_hostile_words.py",)),
            ("SSRF by provider URL", ("tests/unit/providers/transport/test_addresses.py",)),
        ),
    ),
    "wheel": Check("the built wheel in an empty environment", "wheel"),
    "rolling": Check("no call fails while workers are replaced under 200 calls/s", "rolling"),
    "privacy": Check(
        "erasure, export, backup, retention",
        tests=(
            (
                "an erased user leaves no trace in store, index, log and later backups",
                ("tests/integration/test_erase_kill.py", "tests/e2e/test_secrets.py"),
            ),
            (
                "export and import round-trip",
                ("tests/unit/cli/test_transfer.py", "tests/property/test_storage_lines.py"),
            ),
            ("a backup under load restores to a consistent state", ("tests/unit/serve/test_backup.py",)),
            ("retention and disk budget hold under a full disk", ("tests/unit/ledger/test_keeping.py",)),
        ),
    ),
    "demo": Check(
        "the demo",
        tests=(
            (
                "fills and removes itself, and touches no other project",
                ("tests/e2e/test_demo.py", "tests/unit/serve/test_demo.py"),
            ),
        ),
    ),
    "readme": Check("every code block of the README in a fresh environment", "readme"),
}

FIRE: Checks = {
    "architecture": Check("rooms, sizes, contracts, dependencies", "architecture"),
    "bill": Check(
        "the bill equals the provider's",
        tests=(
            (
                "replayed usage of every kind that compatible upstreams report sums to the bill exactly, streams too; "
                "estimated rows are marked",
                ("tests/integration/test_provider_usage.py",),
            ),
            (
                "a reconcile run names every planted difference, and no other",
                ("tests/unit/bill", "tests/unit/cli/test_bill.py"),
            ),
            (
                "sums for a bill are those of the calls",
                ("tests/unit/storage/test_bill.py", "tests/contract/test_stores.py"),
            ),
            (
                "spend pages come to the same sums, and their file holds no formula",
                ("tests/unit/console/test_spend_pages.py",),
            ),
        ),
    ),
}

ISSUES: dict[int, Checks] = {1: SPINE, 2: FACE, 3: FIRE}
