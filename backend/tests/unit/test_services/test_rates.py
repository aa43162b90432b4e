import asyncio

import pytest

from app.services.counting import Counts, ProcessStorage
from app.services.rates import RateLimit, name_address

pytestmark = pytest.mark.anyio


class Clock:
    now = 1_000_020.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def limit_of(clock, rule, **kwargs):
    return RateLimit(Counts(own=ProcessStorage(now=clock, **kwargs), now=clock), rule, policy="requests", now=clock)


async def test_a_client_may_ask_as_often_as_the_rule_says_until_the_window_ends(clock):
    limit = limit_of(clock, "2/minute")

    standings = [await limit.count("a") for _ in range(3)]
    assert [(one.remaining, one.exceeded) for one in standings] == [(1, False), (0, False), (0, True)]
    # 1 000 020 s are 16 667 minutes: the window has just begun.
    assert {one.reset for one in standings} == {60}
    assert not (await limit.count("b")).exceeded
    clock.now += 59.9
    assert (await limit.count("a")).reset == 1
    clock.now += 0.1
    assert not (await limit.count("a")).exceeded


async def test_the_standing_is_told_in_headers(clock):
    standing = await limit_of(clock, "100/hour").count("a")

    assert dict(standing.headers) == {
        b"ratelimit-policy": b'"requests";q=100;w=3600',
        b"ratelimit": f'"requests";r=99;t={standing.reset}'.encode(),
    }


async def test_nothing_is_counted_where_limits_are_off(clock):
    assert await limit_of(clock, "off").count("a") is None


async def test_a_flood_of_clients_takes_bounded_memory(clock):
    own = ProcessStorage(capacity=3, now=clock)
    limit = RateLimit(Counts(own=own, now=clock), "1/minute", policy="requests", now=clock)

    for number in range(50):
        await limit.count(str(number))

    assert await own.reset() == 3


async def test_what_has_ended_counts_no_more(clock):
    own = ProcessStorage(now=clock)
    assert [await own.incr("a", 10), await own.incr("a", 10), await own.get("a")] == [1, 2, 2]
    assert await own.get_expiry("a") == clock.now + 10

    clock.now += 10

    assert [await own.get("a"), await own.incr("a", 10)] == [0, 1]
    await own.clear("a")
    assert await own.get("a") == 0


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix:", "unix:"),
    ],
)
async def test_one_customer_is_one_client(address, name):
    assert name_address(address) == name


class Flaky(ProcessStorage):
    """A storage that can be told to fail."""

    failing = False
    asked = 0

    async def incr(self, key, expiry, amount=1):
        self.asked += 1
        if self.failing:
            raise ConnectionResetError
        return await super().incr(key, expiry, amount)


async def test_redis_is_left_alone_for_a_moment_and_used_again_once_it_answers(clock, caplog):
    caplog.set_level("INFO")
    shared = Flaky()
    counts = Counts(shared=shared, clock=clock)
    assert await counts.add("a", expiry=60) == 1

    shared.failing = True
    assert [await counts.add("a", expiry=60) for _ in range(3)] == [1, 2, 3]
    assert shared.asked == 2
    shared.failing = False
    clock.now += 5
    assert await counts.add("a", expiry=60) == 2
    assert not counts.is_failing
    assert [record.levelname for record in caplog.records if record.name == "app.services.counting"] == [
        "WARNING",
        "INFO",
    ]


async def test_an_answer_that_was_asked_for_before_a_failure_does_not_end_the_pause(clock, caplog):
    caplog.set_level("INFO")
    shared = Flaky()
    counts = Counts(shared=shared, clock=clock)
    answered = asyncio.Event()

    async def answer_late(*_):
        await answered.wait()
        return 1

    shared.incr, incr = answer_late, shared.incr
    early = asyncio.create_task(counts.add("early", expiry=60))
    await asyncio.sleep(0)
    shared.incr, shared.failing = incr, True
    await counts.add("late", expiry=60)
    answered.set()

    assert await early == 1
    assert counts.is_failing
    await counts.add("late", expiry=60)
    assert shared.asked == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]
