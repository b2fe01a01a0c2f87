"""Light in, keyframes out: the ground floor.

Enters: video over WebRTC (`webrtc.py`), posed frames over HTTP (`posed.py`), files, recordings and RTSP (`sources/`).
Leaves: `Frame` (`frame.py`), the newest in a `Mailbox`, with its capture time on the server's clock (`clock.py`); then
`Keyframe`s, chosen by `KeyframeSelector` and held by `KeyframeCache`.

Imports nothing of the floors above. Everything that reads what strangers send (`whip_offer.py`, `trickle.py`,
`datachannel.py`, `posed.py`, `poses.py`, `encoded.py`, `sources/`) is pure and states what it raises. aiortc is known
to `webrtc.py`, `aiortc_mended.py` and `aiortc_receiver.py` only.
"""
