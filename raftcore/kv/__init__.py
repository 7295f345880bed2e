"""A replicated key-value service: what an application of raftcore looks like. README.md walks through it.

Nothing of raftcore knows this package, and it uses nothing of raftcore but `raftcore.application`.
"""
