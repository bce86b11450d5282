"""The aiohttp service that runs a workload on every backend."""
