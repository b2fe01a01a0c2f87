/**
 * Gravity and turning rate of the phone, in the OpenCV camera axes of the image it transmits (x right, y down, z
 * forward). Browsers rotate the image with the screen, so the screen's angle belongs to the conversion.
 */

export type Triple = readonly [number, number, number];
export type Facing = "environment" | "user";

export interface MotionSample {
  readonly up: Triple;
  /** rad/s; null where the phone has no gyroscope. */
  readonly rate: Triple | null;
  readonly atMs: number;
}

const SEND_INTERVAL_MS = 33;
const RADIANS = Math.PI / 180;

/**
 * Up in device axes (x right, y to the top edge, z out of the screen) from the angles of a `deviceorientation` event.
 * The event's accelerometer sibling has opposite signs on iOS and Android; these angles agree everywhere.
 */
export function upInDevice(betaDeg: number, gammaDeg: number): Triple {
  const [beta, gamma] = [betaDeg * RADIANS, gammaDeg * RADIANS];
  return [-Math.cos(beta) * Math.sin(gamma), Math.sin(beta), Math.cos(beta) * Math.cos(gamma)];
}

/** A vector of device axes in camera axes, the screen being turned by `screenAngleDeg` (`screen.orientation.angle`). */
export function cameraFromDevice([x, y, z]: Triple, screenAngleDeg: number, facing: Facing): Triple {
  const angle = screenAngleDeg * RADIANS;
  const right = Math.cos(angle) * x - Math.sin(angle) * y;
  const top = Math.sin(angle) * x + Math.cos(angle) * y;
  return facing === "environment" ? [right, -top, -z] : [-right, -top, z];
}

export function screenAngleDeg(): number {
  return typeof screen === "undefined" || !screen.orientation ? 0 : screen.orientation.angle;
}

/** Ask for the sensors; must run inside a tap. True also where no permission is needed. */
export async function requestMotionPermission(): Promise<boolean> {
  const request = (event: unknown): Promise<string> | null => {
    const ask = (event as { requestPermission?: () => Promise<string> } | undefined)?.requestPermission;
    return typeof ask === "function" ? ask.call(event) : null;
  };
  if (typeof DeviceMotionEvent === "undefined" || typeof DeviceOrientationEvent === "undefined") return false;
  try {
    const answers = await Promise.all([request(DeviceOrientationEvent), request(DeviceMotionEvent)]);
    return answers.every((answer) => answer === null || answer === "granted");
  } catch {
    return false;
  }
}

/** Report motion at about 30 Hz until the returned function is called. */
export function watchMotion(facing: () => Facing, report: (sample: MotionSample) => void): () => void {
  let rateDevice: Triple | null = null;
  let lastMs = -Infinity;
  const onMotion = ({ rotationRate }: DeviceMotionEvent): void => {
    const { alpha, beta, gamma } = rotationRate ?? {};
    if (typeof alpha !== "number" || typeof beta !== "number" || typeof gamma !== "number") return;
    rateDevice = [alpha * RADIANS, beta * RADIANS, gamma * RADIANS]; // about x, y, z, in spite of the names
  };
  const onOrientation = ({ beta, gamma, timeStamp }: DeviceOrientationEvent): void => {
    if (beta === null || gamma === null || timeStamp - lastMs < SEND_INTERVAL_MS - 3) return;
    lastMs = timeStamp;
    const angle = screenAngleDeg();
    report({
      up: cameraFromDevice(upInDevice(beta, gamma), angle, facing()),
      rate: rateDevice && cameraFromDevice(rateDevice, angle, facing()),
      atMs: performance.timeOrigin + timeStamp,
    });
  };
  addEventListener("devicemotion", onMotion);
  addEventListener("deviceorientation", onOrientation);
  return () => {
    removeEventListener("devicemotion", onMotion);
    removeEventListener("deviceorientation", onOrientation);
  };
}
