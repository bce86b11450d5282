"""No work at all: what a backend's own round trip costs."""


def noop() -> None:
    """Do nothing."""


async def noop_async() -> None:
    """Do nothing, as a coroutine."""
