"""Finds out from outside whether a live service works: probes ask, the judge concludes, a comparison watches on."""

from fairlead.verification.answers import Answer, Probe
from fairlead.verification.comparison import Comparison, Judgement, Window
from fairlead.verification.judge import Report, Verdict, judge
from fairlead.verification.probes import ask, wait_for_release

__all__ = [
    "Answer",
    "Comparison",
    "Judgement",
    "Probe",
    "Report",
    "Verdict",
    "Window",
    "ask",
    "judge",
    "wait_for_release",
]
