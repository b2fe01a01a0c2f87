"""One process per device, and who runs next on it.

In: windows of keyframes (`Pool.predict`). Out: `WindowPrediction`, or an error that says why there is none. A CPU host
has one device, "cpu". `lanes.py`, `affinity.py`, `batching.py`, `health.py` and `quarantine.py` are the policies,
`arena.py` the shared pixels, `packing.py` what goes in and out of them, `messages.py` what crosses the process border,
`worker.py` the child, `process.py` one incarnation of it seen from here, `work.py` a window and its fate, `device.py`
the supervision of both and `pool.py` the face. May import mapping's engine contract and streams' frame types; nothing
else of ours.
"""
