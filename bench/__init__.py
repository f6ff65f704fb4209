"""Benchmarks: what a request costs in CPU time at saturation, beside nginx and other gateways.

Linux only (schedstat, CPU affinity, epoll). `make bench` and `make peers` are the ways in; bench/README.md says
how the figures come about.
"""
