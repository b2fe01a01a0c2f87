"""The outside of the server: HTTP, WHIP and the WebSockets on one origin.

In: requests of people, phones and programs, none of them trusted (`guard.py` asks who may and how often, `border.py`
how much, `connections.py` how many at once). Out: calls on `contract.Scenes`, and the bytes that `server.bus` prepares.
Knows nothing of how maps are made.
"""
