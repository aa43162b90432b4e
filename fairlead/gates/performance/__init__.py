"""The performance gate's parts: load on a served application, what that costs it, and the judgement.

```
load         a closed or an open loop of requests, by wrk or by a generator of our own
generator    that generator: a program of its own, so that it shares no interpreter with what it measures
processes    what a process and its children take: CPU time, memory; and which cores they may use
serving      an application served by uvicorn, ready before it is measured
rounds       subjects that take turns under the same load, so that a busy machine slows all alike
statistics   medians, their intervals, percentiles and slopes that a few bad rounds do not bend
base         the revision to compare with, unpacked, with an environment after its own lock
figures      what was measured against what is allowed: verdicts, the table, JSON
```

What is measured belongs to the backend; `backend/tests/performance` composes these parts. Decision 0018 says why.
"""
