"""What runs on the other side: the Python SDK, a scripted phone, and (in `web/`) the TypeScript SDK and pages.

In: a server's address and a token. Out: `sdk.py` hands a program the live map (`mirror.py` keeps its state, `layers.py`
reads it in metres), `assets.py` swaps its models while it runs, both over sockets that `transport.py` keeps;
`camera.py` publishes a video as a phone does, `posed.py` sends pictures of a camera that knows where it is. May import
of the server only `server.protocol`, so that the SDK loads nothing heavy; aiortc only in `camera.py`.
"""
