"""The contract gate: the OpenAPI document is committed, nothing in it breaks a client unannounced, and it is true.

```
documents    the document: reading it, following references, where a pointer stands in the text
shapes       a schema as the alternatives it allows, each of one type, with all that constrains it
containment  whether everything that one schema allows is allowed by another, and what is not
operations   two documents compared, operation by operation, each part in the direction its data flows
changes      what is found: rules, levels, and why each breaks whom
equals       what is the same, written in another way: credentials, media types
versions     whether a version announces that clients break
base         what to compare with: the document at another revision
exercise     the application's own suite that sends requests to every operation
report       text, JSON and GitHub's annotations
```

Run it with `python -m fairlead.gates.contract`; decision 0016 says why it is as it is.
"""
