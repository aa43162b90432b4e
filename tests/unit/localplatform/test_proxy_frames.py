"""Where one frame of a WebSocket ends and the next begins."""

import pytest

from fairlead.localplatform.tunnels import Frames

FRAMES = {
    "empty": b"\x81\x00",
    "short": b"\x81\x05hello",
    "masked and empty": b"\x89\x80abcd",
    "masked": b"\x82\x85abcdhello",
    "of 16 bits": b"\x82\x7e\x01\x00" + bytes(256),
    "of 16 bits, masked": b"\x82\xfe\x01\x00abcd" + bytes(256),
    "of 64 bits": b"\x82\x7f" + (70_000).to_bytes(8) + bytes(70_000),
    "of 64 bits, masked": b"\x82\xff" + (70_000).to_bytes(8) + b"abcd" + bytes(70_000),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_frame_is_missing_something_until_its_last_byte(frame: bytes) -> None:
    frames = Frames()
    assert frames.missing == 0
    for at in range(min(len(frame) - 1, 300)):
        frames.feed(frame[at : at + 1])
        assert 0 < frames.missing <= len(frame) - at - 1
    frames.feed(frame[min(len(frame) - 1, 300) :])
    assert frames.missing == 0


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000, 10**6])
def test_frames_end_together_however_they_are_cut(piece: int) -> None:
    stream = b"".join(FRAMES.values())
    frames = Frames()
    for at in range(0, len(stream), piece):
        frames.feed(stream[at : at + piece])
    assert frames.missing == 0
    frames.feed(b"\x81")
    assert frames.missing == 1


def test_what_is_missing_is_read_to_the_end_of_the_frame_and_never_beyond() -> None:
    for frame in FRAMES.values():
        stream = memoryview(frame + b"\x81\x05never")
        frames = Frames()
        frames.feed(bytes(stream[:1]))
        at = 1
        while missing := frames.missing:
            frames.feed(bytes(stream[at : at + missing]))
            at += missing
        assert at == len(frame)
