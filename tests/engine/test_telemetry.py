"""A Ray of our own has no process that reports, or asks which cloud this is."""

from ray._private import services

from xpoll.engine.telemetry import without_usage_reports


def test_in_the_block_no_such_process_is_started() -> None:
    before = services.start_api_server
    with without_usage_reports():
        assert services.start_api_server(False, True, "127.0.0.1", "", "", "", "", "", "", port=1) == (None, None)
    assert services.start_api_server is before
