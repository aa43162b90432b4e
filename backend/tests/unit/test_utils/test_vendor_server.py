import concurrent.futures

import httpx
import pytest

from backend.tests.vendors.vendor_server import Answer, Cut, Drip, Garbage, Hang, VendorServer, answer_json


@pytest.fixture
def vendor():
    with VendorServer(lambda request: answer_json({"asked": request.path})) as vendor:
        yield vendor


def test_the_script_comes_first_and_then_the_handler(vendor):
    vendor.script(answer_json({"error": "slow down"}, status=429, headers={"Retry-After": "3"}))

    first, second = httpx.post(f"{vendor.url}/a?x=1", data={"b": "c"}), httpx.get(f"{vendor.url}/d")

    assert (first.status_code, first.headers["retry-after"], first.json()) == (429, "3", {"error": "slow down"})
    assert (second.status_code, second.json()) == (200, {"asked": "/d"})
    asked = vendor.requests
    assert [(request.method, request.path) for request in asked] == [("POST", "/a"), ("GET", "/d")]
    assert (asked[0].query, asked[0].form, asked[0].headers["host"]) == ({"x": "1"}, {"b": "c"}, vendor.url[7:])


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Garbage(), httpx.RemoteProtocolError),
        (Cut(Answer(body=b"half of it"), after=4), httpx.RemoteProtocolError),
        (Hang(), httpx.ReadTimeout),
        (Drip(Answer(body=b"slow"), pause=5), httpx.ReadTimeout),
    ],
)
def test_what_is_no_answer_reaches_the_client_as_such(vendor, reply, error):
    vendor.script(reply)

    with pytest.raises(error):
        httpx.get(vendor.url, timeout=0.3)


def test_a_dripped_answer_arrives_whole(vendor):
    vendor.script(Drip(Answer(body=b"drop by drop"), pause=0.001, step=5))

    assert httpx.get(vendor.url).content == b"drop by drop"


def test_a_hanging_answer_ends_when_it_is_released(vendor):
    vendor.script(Hang())

    with concurrent.futures.ThreadPoolExecutor() as pool:
        asking = pool.submit(httpx.get, vendor.url, timeout=20)
        vendor.wait_for_requests(1)
        vendor.release()
        with pytest.raises(httpx.RemoteProtocolError):
            asking.result()


def test_many_clients_at_once_are_recorded_each(vendor):
    with httpx.Client() as client, concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: client.get(f"{vendor.url}/{number}").json()["asked"], range(40)))

    assert answers == [f"/{number}" for number in range(40)]
    assert len(vendor.requests) == 40
