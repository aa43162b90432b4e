"""Finds out from outside whether a live service works: probes ask, the judge concludes."""

from fairlead.verification.judge import Report, Verdict, judge
from fairlead.verification.probes import Answer, Probe, ask, wait_for_release

__all__ = ["Answer", "Probe", "Report", "Verdict", "ask", "judge", "wait_for_release"]
