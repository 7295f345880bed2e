"""Measurements; they start processes while gRPC runs, by exec: its handlers for forks would only warn.

gRPC reads the setting when it is imported first, which is after this.
"""

import os

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
