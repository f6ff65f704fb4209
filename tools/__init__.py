"""What the Makefile runs, apart from the product and the benchmarks."""
