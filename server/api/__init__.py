"""The outside of the server: HTTP, WHIP and the map's WebSocket on one origin.

In: requests of people, phones and programs, none of them trusted (`guard.py` asks who may, `limits.py` how much).
Out: calls on `contract.Scenes`, and the bytes that `server.bus` prepares. Knows nothing of how maps are made.
"""
