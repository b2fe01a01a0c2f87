"""Every figure the README states, as commands anybody can run: `python -m benchmarks.NAME --json`.

`synthetic` is a flat with exact truth (tests and the demo use it too); `flat` measures a NavMesh against it, `latency`
a whole server hop by hop, `accuracy` poses on recorded clips. `demo` is the phones of `make demo`. May import all
that is below; what runs a server does so as a user would, through its command line, its clients and its metrics.
"""
