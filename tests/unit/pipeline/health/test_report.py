"""What workers tell of their targets: added up over workers, and as metrics."""

from trimtab.pipeline.health import publish, read_targets, target_figures
from trimtab.types import TargetHealth


def seen(**more) -> TargetHealth:
    return TargetHealth(**{"target": "p/m", "provider": "p", **more})


def test_workers_are_added_up_and_weighted_by_their_calls(tmp_path):
    publish(tmp_path, "worker-1", [seen(calls=30, failed=3, in_flight=1, p50_ms=100.0, opened=1)])
    publish(
        tmp_path,
        "worker-2",
        [
            seen(
                calls=10,
                failed=1,
                in_flight=2,
                p50_ms=200.0,
                breaker="open",
                reopens_s=0.5,
                last_error="x",
                last_error_us=5,
            ),
            seen(target="q/m", provider="q", calls=1),
        ],
    )
    both, other = read_targets(tmp_path)
    assert (both.target, both.calls, both.failed, both.in_flight, both.opened) == ("p/m", 40, 4, 3, 1)
    assert both.p50_ms == 125.0
    assert (both.breaker, both.reopens_s, both.last_error) == ("open", 0.5, "x")
    assert other.target == "q/m"


def test_what_is_no_report_is_passed_over(tmp_path):
    (tmp_path / "worker-1.targets").write_bytes(b"{")
    (tmp_path / "worker-2.targets").write_bytes(b'{"at": -1e9, "targets": []}')
    assert read_targets(tmp_path) == []
    assert read_targets(tmp_path / "none") == []


def test_figures_are_measure_by_measure():
    figures = {one.name: one for one in target_figures([seen(target="p/m", breaker="half_open", calls=2)])}
    assert figures["trimtab_target_breaker_state"].samples == [("p/m", 1)]
    assert figures["trimtab_target_calls"].kind == "counter"
    assert figures["trimtab_target_calls"].samples == [("p/m", 2)]
    assert target_figures([]) == []
