"""Finds out from outside whether a live service works: probes ask, suites check end to end, a judge concludes."""

from fairlead.verification.answers import Answer, Probe
from fairlead.verification.comparison import Comparison, Judgement, Window
from fairlead.verification.judge import Report, Verdict, judge
from fairlead.verification.probes import ask, wait_for_release
from fairlead.verification.results import Check, Conclusion, Outcome, SuiteReport, SuiteResult, conclude
from fairlead.verification.running import Order, is_pytest_installed, run_suites
from fairlead.verification.suites import Suite, discover
from fairlead.verification.turn import hold_turn

__all__ = [
    "Answer",
    "Check",
    "Comparison",
    "Conclusion",
    "Judgement",
    "Order",
    "Outcome",
    "Probe",
    "Report",
    "Suite",
    "SuiteReport",
    "SuiteResult",
    "Verdict",
    "Window",
    "ask",
    "conclude",
    "discover",
    "hold_turn",
    "is_pytest_installed",
    "judge",
    "run_suites",
    "wait_for_release",
]
