"""Benchmarks: memory, disk and speed of the real command line, beside the tools that people use today.

``make bench`` runs them on loopback servers of their own, prints a table, and writes
``build/bench.json`` and ``docs/performance.md``. A group of rows is one module in
:mod:`benchmarks.groups`.
"""
