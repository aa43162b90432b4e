"""Who gets the next request."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from fairlead.localplatform.routing import Router, Target


def play(act: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(10):
            await act()

    asyncio.run(main())


async def draw(router: Router, count: int) -> list[Target | None]:
    return [await router.find() for _ in range(count)]


@pytest.mark.parametrize(
    ("percent", "of", "expected"), [(0, 100, 0), (10, 100, 10), (1, 300, 3), (25, 8, 2), (100, 50, 50)]
)
def test_canary_gets_exactly_its_share(percent: float, of: int, expected: int) -> None:
    async def act() -> None:
        router, target, canary = Router(), Target(1, deployment_id="one"), Target(2, deployment_id="two")
        router.point(target)
        assert router.weigh(canary, percent) is None
        drawn = await draw(router, of)
        assert drawn.count(canary) == expected
        assert drawn.count(target) == of - expected

    play(act)


@pytest.mark.parametrize("percent", [0.25, 33.3, 50, 66.6, 99.5])
def test_share_that_does_not_divide_is_kept_within_one_request(percent: float) -> None:
    async def act() -> None:
        router, target, canary = Router(), Target(1), Target(2)
        router.point(target)
        router.weigh(canary, percent)
        drawn = await draw(router, 4000)
        assert abs(drawn.count(canary) - 40 * percent) <= 1

    play(act)


def test_canary_does_not_get_every_tenth_request() -> None:
    async def act() -> None:
        router, target, canary = Router(), Target(1), Target(2)
        router.point(target)
        router.weigh(canary, 10)
        drawn = await draw(router, 1000)
        assert len({place % 10 for place, found in enumerate(drawn) if found is canary}) > 1

    play(act)


def test_canary_that_ends_is_returned_and_gets_nothing_more() -> None:
    async def act() -> None:
        router, target, canary = Router(), Target(1), Target(2)
        router.point(target)
        router.weigh(canary, 50)
        assert router.weigh(canary, 100) is canary
        assert router.weigh(None) is canary
        assert router.weigh(None) is None
        assert set(await draw(router, 20)) == {target}

    play(act)


@pytest.mark.parametrize("percent", [-1, 100.1, float("nan")])
def test_what_is_no_percentage_is_refused_and_changes_nothing(percent: float) -> None:
    async def act() -> None:
        router, canary = Router(), Target(2)
        router.weigh(canary, 100)
        with pytest.raises(ValueError, match="no percentage"):
            router.weigh(Target(3), percent)
        assert await router.find() is canary

    play(act)


def test_deployment_is_found_wherever_it_stands_and_does_not_use_up_the_share() -> None:
    async def act() -> None:
        router = Router()
        target, canary, warm = (Target(port, deployment_id=str(port)) for port in (1, 2, 3))
        router.point(target)
        router.weigh(canary, 10)
        router.keep(warm)
        for _ in range(50):
            assert [await router.find(each) for each in ("1", "2", "3", "4", "")] == [target, canary, warm, None, None]
        assert (await draw(router, 10)).count(canary) == 1
        router.forget(Target(3, deployment_id="3"))
        assert await router.find("3") is warm
        router.forget(warm)
        router.forget(warm)
        assert await router.find("3") is None

    play(act)


def test_target_without_an_id_is_not_found_by_an_empty_one_that_nobody_gave() -> None:
    async def act() -> None:
        router = Router()
        assert await router.find("") is None
        assert await router.find() is None

    play(act)


@pytest.mark.parametrize("deployment_id", [None, "one"])
def test_expected_target_is_waited_for(deployment_id: str | None) -> None:
    async def act() -> None:
        router, target = Router(), Target(1, deployment_id="one")
        router.point(None, expected=True)
        assert await router.find(deployment_id, patience=0.01) is None
        waiting = asyncio.create_task(router.find(deployment_id))
        await asyncio.sleep(0)
        assert router.point(target) is None
        assert await waiting is target

    play(act)


def test_who_waits_is_let_go_when_nothing_is_expected_any_more() -> None:
    async def act() -> None:
        router = Router()
        router.point(None, expected=True)
        waiting = asyncio.create_task(router.find())
        await asyncio.sleep(0)
        router.point(None)
        assert await waiting is None

    play(act)


def test_target_is_idle_when_the_last_request_has_ended() -> None:
    async def act() -> None:
        target = Target(1)
        told = []
        assert await target.wait_until_idle(within=0.001)
        with target.use(leave=lambda: told.append("socket")), target.use():
            assert target.in_flight == 2
            assert not await target.wait_until_idle(within=0.001)
            assert told == ["socket"]
        assert await target.wait_until_idle(within=5)
        await target.close()
        assert told == ["socket"]

    play(act)
