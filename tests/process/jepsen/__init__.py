"""Clients that record histories, and a nemesis, over real processes of raftcore.kv."""
