"""Delivery in a cluster of three real peers: through followers, and across changes of leadership."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import TypeVar

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status

from tests.streams import ConsumeCall, StuckConsumer, TaskStream, wait_for
from z4sql.api._pb import z4_pb2 as pb
from z4sql.cli.local_cluster import LocalCluster, PeerProcess, free_ports

T = TypeVar("T")
_names = count()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("delivery"), free_ports(3)) as formed:
        formed.form()
        yield formed
        for peer in formed.peers:
            log = peer.log.read_text()
            assert "call_failed" not in log and "delivery_failed" not in log, peer.log


@pytest.fixture
def namespace() -> str:
    return f"cluster{next(_names)}"


def call(peer: PeerProcess, method: str, request: object) -> bytes:
    with grpc.insecure_channel(peer.service_address) as channel:
        answer: bytes = channel.unary_unary(f"/z4.{method}")(
            request.SerializeToString(),  # type: ignore[attr-defined]
            timeout=10,
            wait_for_ready=True,
        )
        return answer


def again(action: Callable[[], T], timeout_s: float = 15.0) -> T:
    """Repeat what is refused as UNAVAILABLE."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return action()
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def leader(cluster: LocalCluster, among: list[PeerProcess] | None = None) -> PeerProcess:
    """The peer that leads, by its own word."""

    def found() -> PeerProcess | None:
        for peer in among or cluster.peers:
            info = pb.ClusterInfo.FromString(call(peer, "Admin/GetClusterInfo", pb.GetClusterInfoRequest()))
            if info.leader_id == peer.name:
                return peer
        return None

    return wait_for(found, 15, "a leader")


def followers(cluster: LocalCluster) -> list[PeerProcess]:
    first = leader(cluster)
    return [peer for peer in cluster.peers if peer is not first]


def create(peer: PeerProcess, namespace: str, **fields: object) -> pb.Task:
    request = pb.CreateTaskRequest(namespace=namespace, **fields)  # type: ignore[arg-type]
    answer = again(lambda: call(peer, "Collection/CreateTask", request))
    return pb.CreateTaskResponse.FromString(answer).task


def state_of(peer: PeerProcess, task: pb.Task) -> pb.Task:
    request = pb.GetTaskRequest(namespace=task.namespace, task_id=task.id, linearizable=True)
    return pb.Task.FromString(again(lambda: call(peer, "Collection/GetTask", request)))


def test_a_follower_passes_a_consumer_through_to_the_leader(cluster: LocalCluster, namespace: str) -> None:
    first = leader(cluster)
    for peer in cluster.peers:
        with (
            grpc.insecure_channel(peer.service_address) as channel,
            ConsumeCall(channel, namespace, credit=5, name=f"at-{peer.name}") as consumer,
        ):
            made = create(peer, namespace)
            delivery = consumer.wait(1)[0]
            assert delivery.task.id == made.id and delivery.task.lease_owner == f"at-{peer.name}"
            assert consumer.ack(delivery.lease_token)[0].status == 0
            assert consumer.started is not None
            assert consumer.started.leader_service_address == first.service_address
        assert state_of(peer, made).state == "done"


def test_a_consumer_that_leaves_a_follower_gives_back_at_once(cluster: LocalCluster, namespace: str) -> None:
    peer = followers(cluster)[0]
    made = create(peer, namespace)
    with grpc.insecure_channel(peer.service_address) as channel:
        consumer = ConsumeCall(channel, namespace, credit=1, lease_ms=60_000)
        consumer.wait(1)
        consumer.cancel()
    wait_for(lambda: state_of(peer, made).state == "scheduled", 5, "given back")


def test_f26_the_streams_of_bare_tasks_work_on_followers(cluster: LocalCluster, namespace: str) -> None:
    peer = followers(cluster)[0]
    with (
        grpc.insecure_channel(peer.service_address) as channel,
        TaskStream(channel, "/z4.Queue/Pull", metadata=(("queue", namespace),)) as stream,
    ):
        made = create(peer, namespace)
        assert stream.wait(1)[0].id == made.id
        stream.send(pb.PullAck(reference=pb.TaskReference(queue=namespace, task_id=made.id)))
        wait_for(lambda: state_of(peer, made).state == "done", 5, "done")


def test_what_is_wrong_is_told_through_a_follower_with_its_details(
    cluster: LocalCluster, namespace: str
) -> None:
    peer = followers(cluster)[0]
    made = create(peer, namespace, tts_seconds=100)
    change = pb.ChangeTaskRequest(namespace=namespace, task_id=made.id)
    change.redrive.SetInParent()
    with pytest.raises(grpc.RpcError) as refused:
        call(peer, "Collection/ChangeTask", change)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    status = rpc_status.from_call(refused.value)
    info = ErrorInfo()
    assert status is not None and status.details[0].Unpack(info) and info.reason == "WRONG_STATE"


def test_changes_and_settings_go_through_followers(cluster: LocalCluster, namespace: str) -> None:
    peer = followers(cluster)[0]
    made = create(peer, namespace, tts_seconds=100)
    change = pb.ChangeTaskRequest(namespace=namespace, task_id=made.id)
    change.run_now.SetInParent()
    answer = pb.ChangeTaskResponse.FromString(call(peer, "Collection/ChangeTask", change))
    assert answer.forwarded_to == leader(cluster).service_address and answer.task.id == made.id
    update = pb.UpdateNamespaceRequest(namespace=namespace, attempts_max=7)
    assert pb.Namespace.FromString(call(peer, "Admin/UpdateNamespace", update)).attempts_max == 7


def test_f35_a_leader_that_slept_through_an_election_gives_nothing_and_takes_nothing(
    cluster: LocalCluster, namespace: str
) -> None:
    first = leader(cluster)
    others = [peer for peer in cluster.peers if peer is not first]
    made = create(first, namespace)
    with (
        grpc.insecure_channel(first.service_address) as channel,
        grpc.insecure_channel(others[0].service_address) as other_channel,
        ConsumeCall(channel, namespace, credit=10, name="sleeper", lease_ms=1_000) as sleeper,
    ):
        token = sleeper.wait(1)[0].lease_token
        lease_until_s = sleeper.deliveries[0].task.lease_until.ToNanoseconds() / 1e9
        first.send_signal(signal.SIGSTOP)
        try:
            leader(cluster, others)
            awake = again(lambda: started(other_channel, namespace))
            delivery = awake.wait(1, timeout_s=10)[0]
            assert delivery.task.id == made.id and awake.arrivals_s[0] >= lease_until_s
            sleeper.send(pb.ConsumeRequest(acks=[pb.Ack(lease_token=token)]))
        finally:
            first.send_signal(signal.SIGCONT)
        assert sleeper.ended.wait(10) and sleeper.error is not None
        assert sleeper.error.code() is grpc.StatusCode.UNAVAILABLE, sleeper.error
        assert not [one for one in sleeper.outcomes.get(token, []) if one.status == 0], "the lease had ended"
        assert len(sleeper.deliveries) == 1
        assert awake.ack(delivery.lease_token)[0].status == 0
        awake.cancel()
    cluster.wait_healthy(first)


def started(channel: grpc.Channel, namespace: str, *, credit: int = 10, lease_ms: int = 0) -> ConsumeCall:
    """A consumer that the leader answered. :raises grpc.RpcError:"""
    consumer = ConsumeCall(channel, namespace, credit=credit, lease_ms=lease_ms)
    wait_for(lambda: consumer.started or consumer.error, 15, "an answer")
    if consumer.error is not None:
        raise consumer.error
    return consumer


@pytest.mark.parametrize("cleanly", [True, False], ids=["stopped", "killed"])
def test_a_lease_outlives_the_leader_that_gave_it(
    cluster: LocalCluster, namespace: str, cleanly: bool
) -> None:
    """Nobody else gets the task before the lease ends; its holder settles it with the new leader."""
    first = leader(cluster)
    others = [peer for peer in cluster.peers if peer is not first]
    kept, lost = create(first, namespace, payload=b"kept"), create(first, namespace, payload=b"lost")
    with grpc.insecure_channel(first.service_address) as channel:
        holder = ConsumeCall(channel, namespace, credit=2, name="holder", lease_ms=6_000)
        deliveries = {one.task.payload: one for one in holder.wait(2)}
        lease_until_s = deliveries[b"lost"].task.lease_until.ToNanoseconds() / 1e9
        if cleanly:
            assert first.stop() == 0
        else:
            first.kill()
        assert holder.ended.wait(10) and holder.error is not None
        assert holder.error.code() is grpc.StatusCode.UNAVAILABLE, holder.error
        holder.cancel()
    second = leader(cluster, others)
    try:
        with grpc.insecure_channel(others[0].service_address) as channel:
            consumer = again(lambda: started(channel, namespace))
            outcome = consumer.ack(deliveries[b"kept"].lease_token)[0]
            assert outcome.status == 0, outcome
            assert consumer.extend(deliveries[b"kept"].lease_token).status != 0, "it is over"
            got = consumer.wait(1, timeout_s=12)
            assert [one.task.payload for one in got] == [b"lost"]
            assert consumer.arrivals_s[0] >= lease_until_s, "not before the lease ended"
            assert got[0].task.attempts == 2
            consumer.cancel()
        assert state_of(second, kept).state == "done"
        assert state_of(second, lost).attempts >= 2
    finally:
        first.start()
        cluster.wait_healthy(first)


def test_what_a_leader_had_not_sent_is_not_withheld_by_its_clean_stop(
    cluster: LocalCluster, namespace: str
) -> None:
    """Its consumer reads nothing and holds much: the next leader gives it to others without a wait."""
    number, payload = 60, b"x" * 200_000
    for _ in range(number):
        create(cluster.peers[0], namespace, payload=payload)
    first = leader(cluster)
    others = [peer for peer in cluster.peers if peer is not first]

    def leased(peer: PeerProcess) -> set[str]:
        listing = pb.ListTasksRequest(namespace=namespace, states=["leased"], page_size=1_000)
        answer = again(lambda: call(peer, "Collection/ListTasks", listing))
        return {task.id for task in pb.ListTasksResponse.FromString(answer).tasks}

    try:
        with grpc.insecure_channel(first.service_address) as channel:
            stuck = StuckConsumer(channel, namespace, credit=number, lease_ms=3_600_000)
            wait_for(lambda: len(leased(first)) == number, 30, "all are leased")
            assert first.stop() == 0
            second = leader(cluster, others)
            kept = leased(second)
            stuck.cancel()
        # What was on its way to the consumer stays its own.
        assert 0 < len(kept) < number / 2
        with grpc.insecure_channel(second.service_address) as channel:
            consumer = again(lambda: started(channel, namespace, credit=number))
            got = consumer.wait(number - len(kept), timeout_s=30)
            assert {one.task.id for one in got}.isdisjoint(kept)
            assert {one.task.attempts for one in got} == {1}
            consumer.cancel()
    finally:
        if not first.running():
            first.start()
        cluster.wait_healthy(first)


def consume(channel: grpc.Channel, namespace: str) -> ConsumeCall:
    """What a leader that is killed had leased but not yet sent comes again when its lease ends: soon."""
    return ConsumeCall(channel, namespace, credit=100, lease_ms=2_000, auto_ack=True)


def test_f35_streams_move_when_leadership_does(cluster: LocalCluster, namespace: str) -> None:
    """A consumer that reconnects gets every task of a writer that retries, whatever leads meanwhile."""
    made: set[str] = set()
    got: set[str] = set()
    peer = followers(cluster)[0]
    victim = leader(cluster)
    with grpc.insecure_channel(peer.service_address) as channel:
        consumer = consume(channel, namespace)
        for at in range(60):
            request_id = f"{namespace}-{at}"
            made.add(create(peer, namespace, request_id=request_id).id)
            if at == 20:
                victim.kill()
            if consumer.ended.is_set():
                assert consumer.error is not None
                assert consumer.error.code() is grpc.StatusCode.UNAVAILABLE, consumer.error
                got |= {one.task.id for one in consumer.deliveries}
                consumer = consume(channel, namespace)
        victim.start()

        def all_came() -> bool:
            nonlocal consumer
            got.update(one.task.id for one in consumer.deliveries)
            if consumer.ended.is_set():
                consumer = consume(channel, namespace)
            return got >= made

        wait_for(all_came, 20, f"{len(made)} tasks")
        consumer.cancel()
    cluster.wait_healthy(victim)


def test_f16_what_was_acknowledged_stays_done_across_crashes_of_all(
    cluster: LocalCluster, namespace: str
) -> None:
    peer = cluster.peers[0]
    with grpc.insecure_channel(peer.service_address) as channel:
        items = [pb.CreateTaskRequest(namespace=namespace) for _ in range(40)]
        again(lambda: call(peer, "Collection/CreateTasks", pb.CreateTasksRequest(tasks=items)))
        consumer = again(lambda: started(channel, namespace, credit=40, lease_ms=2_000))
        consumer.wait(40)
        acked = {one.task.id for one in consumer.deliveries[:25]}
        outcomes = consumer.ack(*(one.lease_token for one in consumer.deliveries[:25]))
        assert {outcome.status for outcome in outcomes} == {0}
        rest = {one.task.id for one in consumer.deliveries} - acked
        for one in cluster.peers:
            one.kill()
        consumer.cancel()
    for one in cluster.peers:
        one.start()
    for one in cluster.peers:
        cluster.wait_healthy(one)
    with grpc.insecure_channel(peer.service_address) as channel:
        consumer = again(lambda: started(channel, namespace, credit=100))
        consumer.wait(len(rest), timeout_s=20)
        assert {one.task.id for one in consumer.deliveries} == rest
        consumer.cancel()
