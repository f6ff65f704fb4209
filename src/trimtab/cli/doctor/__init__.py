"""`trimtab doctor`: everything that would keep Trimtab from running well on this machine, with its mend."""

from trimtab.cli.config import load
from trimtab.cli.options import AsJson, Place
from trimtab.cli.terminal import Cell, Column, one_line, write_json, write_table
from trimtab.config import Config
from trimtab.types import ConfigError

from .finding import Finding
from .machine import machine_findings
from .setup import setup_findings

_STYLE = {"OK": "green", "WARN": "yellow", "FAIL": "bold red"}

__all__ = ["Finding", "doctor"]


def doctor(place: Place | None = None, *, json: AsJson = False) -> int:
    """Look for what would keep Trimtab from running well here.

    Each line is OK, WARN (it runs, but something is missing or risky) or FAIL (it will not run as
    configured), with the mend. Exit 1 where any line is FAIL. Nothing is changed.

    Args:
        place: Which installation.
        json: Print JSON with stable fields.
    """
    config: Config | None = None
    findings = machine_findings()
    try:
        config = load(place or Place())
    except ConfigError as error:
        findings.append(Finding.fail("config", error.message, "mend the file, then `trimtab config check`"))
    if config is not None:
        findings += setup_findings(config)
    if json:
        write_json([finding.as_dict() for finding in findings])
    else:
        _print(findings)
    return 1 if any(finding.status == "FAIL" for finding in findings) else 0


def _print(findings: list[Finding]) -> None:
    rows = []
    for finding in findings:
        rows.append(
            (Cell(finding.status, _STYLE[finding.status]), finding.name, Cell(one_line(finding.said)))
        )
        if finding.mend:
            rows.append((Cell(""), "", Cell(f"→ {one_line(finding.mend)}", "bold")))
    write_table([Column(title=""), Column(title="check"), Column(title="", wraps=True)], rows)
