"""Locust users, the recorder of raw latencies, and the process that drives them."""
