"""A replicated key-value service: what an application of raftcore looks like. README.md walks through it.

Nothing of raftcore knows this package. It uses what any application may: `raftcore.host`, the types, errors
and settings of `raftcore.core`, `raftcore.replica.group` to take an entry apart, and a table of
`raftcore.storage.tables` for its state.
"""
