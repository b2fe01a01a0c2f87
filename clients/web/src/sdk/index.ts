export { ClockEstimate, type ClockSample } from "./clock.js";
export {
  type ClientOptions,
  connect,
  type ConnectionState,
  MapClient,
  socketUrl,
  type SubscribeOptions,
  Subscription,
} from "./client.js";
export {
  type NavDetail,
  type NavEdge,
  type NavTile,
  type Placement,
  type PointCloud,
  type Pose,
  readNav,
  readPoints,
  readPose,
  readSurface,
  readThumbnail,
  type Surface,
  type Thumbnail,
  TILE_CELLS,
} from "./layers.js";
export { type Change, type Entry, SceneMap } from "./map.js";
export {
  decode,
  type Delta,
  encode,
  type Key,
  type Layer,
  LAYERS,
  type Part,
  ProtocolError,
  type QuaternionWxyz,
  Reader,
  type Roi,
  type SceneInfo,
  type ServerMessage,
  SUBPROTOCOL,
  type Vector3,
} from "./protocol.js";
export { apply, compose, IDENTITY, rotate, type Similarity } from "./transform.js";
