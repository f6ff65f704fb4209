"""Benchmarks: what a request costs in CPU time at saturation, beside nginx and other gateways.

Linux only (schedstat, CPU affinity, epoll). The ways in are `make bench` and `make peers`; bench/README.md
tells how the figures come about.
"""
