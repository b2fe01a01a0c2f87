"""Recorded clips played as phones through the whole chain, and the marks the result gets.

`phone.py` says who films what, `fast.py` and `live.py` play phones into a scene (every frame in one thread, or at the
clips' own pace through the server's own parts) and leave a `session.py`. The marks: `poses.py`, `depth.py`,
`surface.py`, `gravity.py`. The commands on top are `benchmarks.accuracy`, `crowd`, `false_merges`, `relocalisation`.
"""
