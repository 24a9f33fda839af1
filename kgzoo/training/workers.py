"""Several processes that train as one: how they start, agree, and end together.

All take part in every training step, and by its gathers and sums have the same weights after it.
The chief alone touches the run folder, scores, exports and reports. Nothing needs a file system
that all can see: what the chief has read there (weights, optimizers, how far it was) is sent to the
others. Without TF_CONFIG's cluster everything here is for one process and costs nothing.

A process that dies is noticed by the others within seconds, one that hangs within a minute.
"""

import json
import logging
import re
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kgzoo.errors import UserError, shown
from kgzoo.methods import Method
from kgzoo.training.cluster import Cluster, from_environment

__all__ = ["START_SECONDS", "OF_A_PEER", "Lost", "Workers", "multi_worker_strategy"]

# In which all processes must have come, started by hand on several machines.
START_SECONDS = 300
_CHECK_EVERY_SECONDS = 5
_LEAVE_SECONDS = 10
_PROBE_SECONDS = 5
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LOST = (
    *(tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError),
    *(tf.errors.DeadlineExceededError, tf.errors.FailedPreconditionError),
    *(tf.errors.InternalError, tf.errors.InvalidArgumentError),
)
OF_A_PEER = re.compile(r"[Cc]ollective|/job:|[Gg][Rr][Pp][Cc]|[Ss]ocket closed|Connection reset")
_DOWN = re.compile(r"/job:(chief|worker)/replica:0/task:(\d+) is down")


class Lost(RuntimeError):
    """Another process of the run is gone; the message says which, what is kept, what to do."""


def multi_worker_strategy() -> tf.distribute.Strategy:
    """Waits for all processes of TF_CONFIG and returns the strategy that joins them.

    Must run before TensorFlow executes its first op.

    Raises:
        UserError: if TF_CONFIG does not fit, the port is taken, not all have come in time, or
            TensorFlow is not one of those that this was made for.
    """
    cluster = from_environment("multi_worker")
    _check_port(cluster)
    leave_to_health_checks = _set_watch()
    # What it logs of a lost peer, `Lost` says in a sentence.
    tf.get_logger().addFilter(_is_news)
    logging.getLogger("absl").addFilter(_is_news)
    hint = tf.distribute.experimental.CommunicationImplementation
    chosen = hint.AUTO if tf.config.list_physical_devices("GPU") else hint.RING
    try:
        leave_to_health_checks("")
        return tf.distribute.MultiWorkerMirroredStrategy(
            communication_options=tf.distribute.experimental.CommunicationOptions(
                implementation=chosen
            )
        )
    except (RuntimeError, tf.errors.OpError) as error:
        if "program startup" in str(error):
            raise UserError(
                "strategy='multi_worker' comes too late in a process in which TensorFlow has "
                "run; start with python -m kgzoo.main."
            ) from None
        raise UserError(
            f"strategy='multi_worker' did not find all of {', '.join(cluster.addresses)} within "
            f"{START_SECONDS} s ({_reason(error)}); start the same command for each of them, and "
            "let them reach each other's ports."
        ) from None


def _set_watch() -> Callable[[str], None]:
    """Has TensorFlow look after the peers as often as we want, and returns what chooses that watch.

    Of its two, the one chosen, which asks all peers every few seconds, ends a training step with an
    error when one is down; the other, its coordination service, ignores SIGTERM while it waits for
    them. Nothing of this has a public name.

    Raises:
        UserError: if this TensorFlow has not all of it: without the watch a run with a lost peer
            would wait for ever.
    """
    try:
        from tensorflow.python.distribute import collective_all_reduce_strategy
        from tensorflow.python.eager import context

        extended = collective_all_reduce_strategy.CollectiveAllReduceExtended
        settings = {
            "_check_health_initial_timeout": START_SECONDS,
            "_check_health_interval": _CHECK_EVERY_SECONDS,
        }
        # An attribute that nobody reads could be set in any version.
        for name in ("_check_health", *settings):
            getattr(extended, name)
        choose = context.context().configure_coordination_service
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"strategy='multi_worker' does not fit TensorFlow {tf.__version__} ({error}); install "
            "the one that kgzoo asks for, or train on one machine with --strategy=mirrored."
        ) from None
    for name, seconds in settings.items():
        setattr(extended, name, seconds)
    return choose


def _is_news(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    return "check alive failed" not in text and "seems down" not in text


def _check_port(cluster: Cluster) -> None:
    port = int(cluster.addresses[cluster.rank].rpartition(":")[2])
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise UserError(
                f"TF_CONFIG gives port {port} to {cluster.name(cluster.rank)}, which cannot be "
                f"opened here ({error.strerror}); end what holds it or choose another in every "
                "TF_CONFIG."
            ) from None


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_SECONDS):
            return True
    except OSError:
        return False


def _reason(error: Exception) -> str:
    """Returns the first line of an error without what TensorFlow puts before it."""
    text = re.sub(r"\{\{[^}]*\}\}", "", str(error)).strip() or type(error).__name__
    return text.splitlines()[0][:120].strip()


class Workers:
    """What the processes of a run do together; for one process, next to nothing.

    All must call the same methods in the same order.

    Args:
        strategy: where the run trains.

    Attributes:
        strategy: the same.
        cluster: the processes.
        count: how many they are.
        is_chief: whether this one is the chief.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self.strategy = strategy
        several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        self.cluster = from_environment("multi_worker") if several else Cluster()
        self.count, self.is_chief = len(self.cluster.addresses), self.cluster.is_chief
        if self.count > 1:
            self._gather, self._bye = self._gatherer(0), self._gatherer(_LEAVE_SECONDS)
            self._sum = self._adder()

    @property
    def replicas(self) -> range | None:
        """The replicas of this process among those of all; None where it has all of them."""
        if self.count == 1:
            return None
        local = self.strategy.num_replicas_in_sync // self.count
        return range(self.cluster.rank * local, (self.cluster.rank + 1) * local)

    @contextmanager
    def joined(self, kept: Callable[[], str]) -> Iterator[None]:
        """Ends a run in step: nobody goes before all have what they were sent.

        Args:
            kept: says for the message which checkpoint there is.

        Raises:
            Lost: when another process is gone.
        """
        try:
            yield
        except _LOST as error:
            if self.count == 1 or not OF_A_PEER.search(str(error)):
                raise
            raise Lost(
                f"{self._who(error)}; {kept()}: type the same command for every worker again."
            ) from None
        except Lost as error:
            raise Lost(
                f"{error}; {kept()}: type the same command for every worker again."
            ) from None
        except BaseException:
            self._leave()
            raise
        self._leave()

    def _who(self, error: Exception) -> str:
        """Says which process is gone: the one that the error names, or those that are deaf."""
        others = [rank for rank in range(self.count) if rank != self.cluster.rank]
        found = _DOWN.search(str(error))
        if found is not None:
            # A chief is a job of its own only where TF_CONFIG says so.
            jobs = self.strategy.cluster_resolver.cluster_spec()
            before = self.count - jobs.num_tasks("worker") if found[1] == "worker" else 0
            gone = [before + int(found[2])]
        else:
            gone = [rank for rank in others if not _listens(self.cluster.addresses[rank])]
        names = " and ".join(self.cluster.name(rank) for rank in gone or others)
        return f"{names} {'is' if len(gone or others) == 1 else 'are'} gone or not in step"

    def _leave(self) -> None:
        if self.count > 1:
            # Those that are gone already have missed nothing.
            with suppress(tf.errors.OpError, Lost):
                self._exchange({"leaving": True}, self._bye)

    def from_chief(self, act: Callable[[], Any]) -> Any:
        """Returns on every process what `act` returns on the chief, which alone calls it.

        Args:
            act: returns what JSON can hold.

        Raises:
            UserError: on every process, when `act` raises one.
        """
        if self.count == 1:
            return act()
        return self._agree(act if self.is_chief else None)[0]

    def on_all(self, act: Callable[[], Any]) -> Any:
        """Returns what `act` returns here; a UserError of one process is raised on all."""
        if self.count == 1:
            return act()
        found: list[Any] = []
        self._agree(lambda: found.append(act()))
        return found[0]

    def check_same(self, facts: Mapping[str, Any]) -> None:
        """Raises a UserError on every process when one of them has other facts than the chief."""
        if self.count == 1:
            return
        chief, *others = self._agree(lambda: dict(facts))
        for rank, other in enumerate(others, start=1):
            for name, value in chief.items():
                if other.get(name) != value:
                    raise UserError(
                        f"{self.cluster.name(rank)} has {name}={shown(other.get(name))}, the "
                        f"chief has {shown(value)}; start all with the same command, data and "
                        "versions."
                    )

    def share(self, model: Method) -> None:
        """Gives every process the chief's weights, optimizers and counters, bit for bit."""
        if self.count == 1:
            return
        slots = (optimizer.variables for optimizer in model.optimizers.values())
        for variable in [*model.weights, *(slot for group in slots for slot in group)]:
            value = keras.ops.convert_to_numpy(variable)
            sent = self._told(value.tobytes() if self.is_chief else b"", self._gather)[0]
            if not self.is_chief:
                variable.assign(np.frombuffer(sent, value.dtype).reshape(value.shape))

    def signalled(self, number: int) -> int:
        """Returns the signal that any of the processes has been sent, 0 for none.

        Args:
            number: of SIGTERM or SIGINT, when this one has.
        """
        if self.count == 1:
            return number
        counts = self._sum(tf.constant([float(number == each) for each in _SIGNALS]))
        seen = (each for each, count in zip(_SIGNALS, counts.numpy(), strict=True) if count)
        return int(next(seen, 0))

    def _agree(self, act: Callable[[], Any] | None) -> list[Any]:
        """Returns what `act` returned on each process; None stands for no act."""
        value, refused = None, ""
        try:
            value = act() if act else None
        except UserError as error:
            refused = str(error)
        told = self._exchange({"value": value, "refused": refused}, self._gather)
        for rank, each in enumerate(told):
            if each["refused"]:
                by = "" if rank == self.cluster.rank else f"{self.cluster.name(rank)}: "
                raise UserError(by + each["refused"])
        return [each["value"] for each in told]

    def _exchange(self, message: dict[str, Any], gather: Callable) -> list[dict[str, Any]]:
        told = [json.loads(each) for each in self._told(json.dumps(message).encode(), gather)]
        for rank, each in enumerate(told):
            if each.keys() != message.keys():
                raise Lost(f"{self.cluster.name(rank)} has ended")
        return told

    def _told(self, data: bytes, gather: Callable) -> list[bytes]:
        """Returns the bytes that each process gives; they travel as the bits of float32."""
        padded = len(data).to_bytes(8, "little") + data + bytes(-len(data) % 4)
        words = tf.constant(np.frombuffer(padded, np.float32))
        rest, found = gather(words).numpy().tobytes(), []
        for _ in range(self.count):
            size = int.from_bytes(rest[:8], "little")
            found.append(rest[8 : 8 + size])
            rest = rest[8 + size + -size % 4 :]
        return found

    def _gatherer(self, timeout_seconds: float) -> Callable:
        options = tf.distribute.experimental.CommunicationOptions(
            timeout_seconds=timeout_seconds or None
        )
        local = self.strategy.num_replicas_in_sync // self.count

        def gather(words: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            # One replica of a process speaks for it.
            speaks = tf.cast(tf.equal(context.replica_id_in_sync_group % local, 0), tf.int32)
            own = tf.identity(words)[: speaks * tf.size(words)]
            return context.all_gather(own, axis=0, options=options)

        return self._traced(gather)

    def _adder(self) -> Callable:
        def add(values: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(values))

        return self._traced(add)

    def _traced(self, collective: Callable) -> Callable:
        strategy = self.strategy

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)], autograph=False)
        def call(values: tf.Tensor) -> tf.Tensor:
            results = strategy.run(collective, args=(values,))
            return strategy.experimental_local_results(results)[0]

        return call
