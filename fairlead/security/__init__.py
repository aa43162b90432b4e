"""The security gate: one runner for each tool, and a judge that never takes silence for safety.

A finding is something wrong. A gap is something that was not looked at: a file that the scanner could not read, a
package that the audit skipped, a service that did not answer. Both fail the gate, each called by its own name.
"""
