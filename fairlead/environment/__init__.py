"""The variables that an application reads: their documents, and whether an environment has them as they should be.

What they are the application says itself, in a process of its own that the configuration names; nothing here imports
it. Values reach that process in its environment and nothing else: no argument, no file, no message holds one.
"""
