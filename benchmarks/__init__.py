"""How fast Backscroll is beside others, each pair measured in turns in one run: `python -m benchmarks`."""
