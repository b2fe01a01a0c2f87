"""Generation beside live perception: what it costs, how fast it makes way, and what kills leave of it.

    python -m benchmarks.generation [--json] [--calls 1000] [--kills 1000] [--library NAMES.json]

`sharing`: the real engine worker and the real lane share one core, in the same run with generation held, gated, and as
a plain process beside it. `cancelling`: jobs are cancelled while they run. `killing`: kill -9 of server and workers.
`formats`: a captured thing in every format, read again by somebody else's reader.
"""
