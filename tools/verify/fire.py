"""The third issue's promises: money, limits, resilience under fire."""

from .check import Check, Checks

_DAYS = "tests/e2e/test_bad_days.py::"

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
    "budgets": Check(
        "budgets across workers and crashes",
        tests=(
            (
                "64 clients on 4 workers race for a budget that fits 100 calls: exactly 100; a restart and the loss of "
                "the file forget nothing",
                ("tests/e2e/test_budget_race.py::test_exactly_as_many_calls_as_a_budget_fits",),
            ),
            (
                "with kill -9 never more than 100, and answered + flagged as possibly billed = 100",
                ("tests/e2e/test_budget_race.py::test_never_more_with_kill_9_and_all_are_accounted_for",),
            ),
            (
                "kill -9 before any write of the critical section counts enough, and is mended",
                ("tests/integration/test_limiter_processes.py",),
            ),
            (
                "what the file says is spent is what the ledger sums up to",
                ("tests/property/test_limits.py",),
            ),
        ),
    ),
    "limits": Check(
        "limits across workers",
        tests=(
            (
                "requests a minute hold within 1 % over 60 s across 4 processes",
                (
                    "tests/integration/test_limiter_processes.py::test_a_rate_holds_within_one_percent_over_a_minute",
                ),
            ),
            ("the mapped file keeps the limiter port's promises", ("tests/contract/test_limiter_kit.py",)),
            (
                "lost, damaged and full files, other boots and clocks that jump",
                ("tests/unit/limits/test_mapped.py",),
            ),
        ),
    ),
    "fault-pairs": Check(
        "faults and their pairs with a healthy fallback",
        tests=(
            ("each fault is a right answer or an explicit error, recorded so", ("tests/e2e/test_faults.py",)),
            (
                "all pairs: rescued before the first content, an explicit error after it, nothing cut in silence",
                ("tests/e2e/test_fault_pairs.py",),
            ),
        ),
    ),
    "outage": Check(
        "a provider that is down",
        tests=(
            (
                "upstream requests stay within 1.2 times the calls",
                (f"{_DAYS}test_no_storm_while_a_provider_is_down",),
            ),
            (
                "the own model, or another, answers within its deadline, says so, and hands back within 5 s",
                (
                    f"{_DAYS}test_the_degraded_model_takes_over_when_all_are_gone_and_hands_back",
                    f"{_DAYS}test_the_degraded_model_does_not_wait_for_one_that_hangs",
                ),
            ),
            (
                "a key rotated under calls fails none",
                (f"{_DAYS}test_a_new_key_is_taken_without_a_failed_call",),
            ),
        ),
    ),
    "brown-out": Check(
        "latency x 10 and 20 % errors for a while",
        tests=(
            (
                "p99 within twice the healthy one from 5 s after onset; breaker open within 2 s, closed within 5 s",
                (f"{_DAYS}test_a_brown_out_is_left_within_2_s_and_come_back_to_within_5_s",),
            ),
        ),
    ),
    "hedging": Check(
        "second requests",
        tests=(
            (
                "at a budget of 5 %, p99 of a two-peaked upstream falls by 40 % with at most 6 % more requests",
                (f"{_DAYS}test_hedging_cuts_the_tail_of_a_two_peaked_upstream",),
            ),
            (
                "the loser's socket is closed and its cost recorded",
                (f"{_DAYS}test_a_hedge_wins_and_the_losers_socket_is_closed_at_once",),
            ),
        ),
    ),
    "cache": Check(
        "replies given again",
        tests=(
            (
                "100,000 random histories never answer across keys; what may be kept, how long, and what it costs",
                ("tests/unit/pipeline/test_cache.py", "tests/unit/storage/test_replies.py"),
            ),
        ),
    ),
    "telemetry": Check(
        "export, metrics, alerts",
        tests=(
            (
                "the exporter's spans, metrics and events pass a real OTLP collector's parser, in both encodings",
                ("tests/unit/telemetry/test_otlp.py", "tests/contract/test_sink_kit.py"),
            ),
            (
                "every call is exported at least once over kill -9 of anything, a dead, slow and refusing collector",
                (
                    "tests/unit/telemetry/test_exporter.py",
                    "tests/unit/telemetry/test_feed.py",
                    "tests/e2e/test_telemetry.py",
                ),
            ),
            (
                "/metrics passes strict parsers, its dimensions are bounded, its sums are the calls'",
                ("tests/unit/telemetry/test_figures.py",),
            ),
            (
                "alerts fire and end without flapping; webhooks are signed, screened, tried again, and leak nothing",
                (
                    "tests/unit/telemetry/test_alerts.py",
                    "tests/unit/telemetry/test_alert_desk.py",
                    "tests/unit/console/test_alert_pages.py",
                ),
            ),
        ),
    ),
    "operations": Check(
        "secrets, reload, clocks, packaging",
        tests=(
            (
                "secrets come out of files and commands, once, with a deadline, and no message shows them",
                ("tests/unit/config/test_sources.py", "tests/unit/cli/test_doctor_secrets.py"),
            ),
            (
                "a reload is validated, then swapped; a bad file changes nothing and says why; the history has it",
                ("tests/unit/api/test_readings.py", "tests/e2e/test_reload.py"),
            ),
            (
                "a clock that is set by an hour neither shortens calls nor deletes them",
                ("tests/unit/pipeline/test_clock_jumps.py", "tests/unit/ledger/test_clock_jumps.py"),
            ),
            (
                "lock with hashes, bill of materials, systemd unit and Dockerfile hold",
                ("tests/docs/test_packaging.py", "tests/docs/test_systemd.py"),
            ),
            ("every test that the threat model names is there", ("tests/docs/test_threat_model.py",)),
        ),
    ),
    "hostile": Check(
        "hostile input",
        tests=(
            (
                "each hostile request gets a stable code or is shed, and harms nobody else",
                ("tests/e2e/test_hostile.py", "tests/unit/serve/http"),
            ),
        ),
    ),
    "rules-bench": Check(
        "CPU, latency and memory with a key, limits, a budget and two routes in force", "rules_bench"
    ),
    "storm": Check("3,000,000 requests with faults, reloads and rotations", "storm"),
    "fuzz": Check("make fuzz for ten minutes, and its trial on ten planted bugs", "fuzz"),
}
