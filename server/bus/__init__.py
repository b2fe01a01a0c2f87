"""From changes of the map to the bytes that many clients share.

In: tiles, poses, points and thumbnails of a scene (`encode.py` turns them into messages, off the event loop if you
like). Out: for each client the newest message of every key it asked for (`outbox.py`), at the rate it can take
(`pace.py`). Nothing here does I/O or reads a clock; `server/api/socket.py` is the shell around it. Each message is
encoded once and its bytes are shared; per client there is a dict of keys, never a log.

May import: `server.protocol`, data types of the floors below.
"""
