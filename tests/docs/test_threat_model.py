"""The threat model names tests: they are there, and each threat has one."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explain/threat-model.md").read_text()
ROWS = re.findall(r"^\| (.+) \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)
THREATS = [row for row in ROWS if row[0] != "threat"]


def test_each_threat_has_what_stops_it_and_a_test_that_is_there() -> None:
    assert len(THREATS) >= 25
    for threat, stopped, tried in THREATS:
        assert stopped.strip(), threat
        places = re.findall(r"`([^`]+)`", tried)
        assert places, threat
        for place in places:
            assert place == "make fuzz" or (ROOT / place).exists(), (threat, place)


def test_the_policy_says_how_to_report_and_what_is_supported() -> None:
    policy = (ROOT / "SECURITY.md").read_text()
    assert "Report a vulnerability" in policy
    assert "## Supported versions" in policy
