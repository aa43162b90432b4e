"""The logic behind the gates: what a tool's report must say for a gate to pass.

Each module is a program of its own (`python -m fairlead.gates.coverage`), run by a session of the noxfile in an
environment that holds that gate's tools and nothing else. A gate passes when its tool ran, its report is whole and
nothing is wrong; a report that is missing or partial is a failure, never a pass.
"""
