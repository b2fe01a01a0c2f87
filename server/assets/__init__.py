"""The asset bus: 3D assets that games hold open while they change.

    from server.assets import get_asset_bus
    bus = get_asset_bus()
    chair = bus.register("chair", {"lod0": Path("chair.glb")})
    bus.bind("proxy_chair", chair.asset)          # a slot: the place in a scene that games look at
    bus.hot_swap_asset("chair", "user_chair")     # every game that shows it changes over, on one frame edge

Bytes are blobs named by their hash (`blobs`), and read by a process of its own (`reader`) before they are published
(`examining`); an asset has immutable versions of them (`registry`); a slot shows one version and changes over by
prepare, acknowledge, commit and, if need be, rollback (`swap`, pure). Each change and the events that tell of it are
one transaction (`database`), numbered without gaps. `catalog` is all of it for one thread; `bus` is that thread.
"""

from server.assets.bus import AssetBus, get_asset_bus

__all__ = ["AssetBus", "get_asset_bus"]
