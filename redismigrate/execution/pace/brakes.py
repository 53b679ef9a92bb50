"""What makes a run wait: measured values of the server that are over a limit of the run."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redismigrate.redis_server.connection import Server
from redismigrate.state.control import Control

# The lag of a replica that is further behind is the time since the oldest of these, which is long enough.
REMEMBERED_OFFSETS = 600


@dataclass(frozen=True)
class Brake:
    """A limit that is exceeded.

    Attributes:
        name: Of what is measured, "latency", "critical latency", "replica lag" or "memory".
        measured: Its value.
        limit: What it may be.
        unit: Of both.
    """

    name: str
    measured: float
    limit: float
    unit: str

    def __str__(self) -> str:
        return f"{self.name} {self.measured:,.1f}{self.unit} > {self.limit:g}{self.unit}"


class ReplicaLag:
    """Tells how many seconds the slowest replica is behind, from one look at INFO to the next.

    Redis tells how many bytes a replica has taken, and how long ago it said so: the latter alone would never
    show a replica that answers but can't keep up. One that is just being synchronized is passed over: it
    can't be waited for.
    """

    def __init__(self) -> None:
        self._offsets: deque[tuple[float, int]] = deque(maxlen=REMEMBERED_OFFSETS)

    def seconds(self, replication: Mapping[str, Any], now: float) -> float:
        """The lag.

        Args:
            replication: The section `replication` of INFO.
            now: When it was asked for, of the monotonic clock.
        """
        offset = int(replication.get("master_repl_offset", 0))
        if self._offsets and offset < self._offsets[-1][1]:
            self._offsets.clear()  # the server was restarted
        self._offsets.append((now, offset))
        replicas = [
            value
            for name, value in replication.items()
            if name.startswith("slave") and isinstance(value, Mapping) and value.get("state") == "online"
        ]
        return max((self._behind(replica, now) for replica in replicas), default=0.0)

    def _behind(self, replica: Mapping[str, Any], now: float) -> float:
        taken = int(replica.get("offset", 0))
        # What it lacks had been written at the first look that showed more than it has.
        written_at = next((at for at, offset in self._offsets if offset > taken), now)
        return max(float(replica.get("lag", 0)), now - written_at)


class ServerLoad:
    """Looks at replicas and memory for as long as a run is under way.

    Args:
        server: The connection.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lag = ReplicaLag()

    def brakes(self, control: Control, now: float) -> tuple[Brake, ...]:
        """The limits of replicas and memory that are exceeded; the server is asked for what has a limit."""
        brakes = []
        if control.max_replica_lag_seconds is not None:
            lag = self._lag.seconds(self._server.execute("INFO", "replication"), now)
            brakes.append(Brake("replica lag", lag, control.max_replica_lag_seconds, " s"))
        if control.max_memory_percent is not None:
            memory = self._server.execute("INFO", "memory")
            most = int(memory.get("maxmemory", 0))
            used = 100 * int(memory["used_memory"]) / most if most else 0.0
            brakes.append(Brake("memory", used, control.max_memory_percent, "%"))
        return tuple(brake for brake in brakes if brake.measured > brake.limit)
