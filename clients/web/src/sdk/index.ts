export { type Access, ApiError } from "./api.js";
export {
  type Accept,
  AssetBus,
  type AssetEvent,
  type AssetFile,
  type AssetOptions,
  connectAssets,
  type Callbacks as SlotCallbacks,
  type Prepared,
  type Ref as AssetRef,
} from "./assets.js";
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
export { type Job, type JobRequest, Jobs, type JobState } from "./jobs.js";
export {
  type DepthMap,
  Ground,
  type NavDetail,
  type NavEdge,
  type NavTile,
  type Placement,
  type PointCloud,
  type Pose,
  readDepth,
  readIslands,
  readNav,
  readPoints,
  readPose,
  readSurface,
  readThumbnail,
  type Surface,
  type Thumbnail,
  TILE_CELLS,
} from "./layers.js";
export { type Lens, type LocateAnswer } from "./locate.js";
export { type Change, type Entry, SceneMap } from "./map.js";
export {
  decode,
  DEFAULT_LAYERS,
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
export {
  type Agent,
  type Answer,
  type Asking,
  isOutdated,
  MapQueries,
  type NearestAnswer,
  type PathAnswer,
  type Question,
  type RaycastAnswer,
  type ReachableAnswer,
  type ReachAnswer,
  type ReachedPolygon,
  type TileVersion,
  type VisibleAnswer,
  type Walk,
} from "./queries.js";
export { apply, compose, IDENTITY, rotate, type Similarity } from "./transform.js";
