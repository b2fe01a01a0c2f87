import { describe, expect, it } from "vitest";
import { CaptureClock } from "../src/phone/capture.js";
import { headingDeg } from "../src/phone/heading.js";
import { readAnswer } from "../src/phone/messages.js";
import { cameraFromDevice, type Triple, upInDevice } from "../src/phone/motion.js";
import { readPrivacy, sentences } from "../src/phone/privacy.js";
import { sceneTrouble, serverTrouble } from "../src/phone/trouble.js";
import { ApiError } from "../src/sdk/api.js";

function rounded(vector: Triple): number[] {
  return vector.map((n) => Math.round(n * 1e6) / 1e6 + 0);
}

describe("up in the transmitted image", () => {
  it("points to the image's top when the phone is upright", () => {
    expect(rounded(cameraFromDevice(upInDevice(90, 0), 0, "environment"))).toEqual([0, -1, 0]);
  });

  it("points to the image's top when the phone lies on its side and the screen has followed", () => {
    // Turned counter-clockwise: the right edge is up, the screen turned by 90.
    expect(rounded(cameraFromDevice(upInDevice(0, -90), 90, "environment"))).toEqual([0, -1, 0]);
    // Turned clockwise: the left edge is up, the screen turned by 270.
    expect(rounded(cameraFromDevice(upInDevice(0, 90), 270, "environment"))).toEqual([0, -1, 0]);
  });

  it("points to the image's side when the screen is locked upright", () => {
    expect(rounded(cameraFromDevice(upInDevice(0, -90), 0, "environment"))).toEqual([1, 0, 0]);
  });

  it("points against the view when the phone lies on a table, camera down", () => {
    expect(rounded(cameraFromDevice(upInDevice(0, 0), 0, "environment"))).toEqual([0, 0, -1]);
    expect(rounded(cameraFromDevice(upInDevice(0, 0), 0, "user"))).toEqual([0, 0, 1]);
  });

  it("is a proper rotation of axes for both cameras and every screen angle", () => {
    for (const facing of ["environment", "user"] as const) {
      for (const angle of [0, 90, 180, 270]) {
        const [a, b, c] = ([[1, 0, 0], [0, 1, 0], [0, 0, 1]] as const).map((v) => cameraFromDevice(v, angle, facing)) as [
          Triple,
          Triple,
          Triple,
        ];
        const determinant =
          a[0] * (b[1] * c[2] - b[2] * c[1]) - b[0] * (a[1] * c[2] - a[2] * c[1]) + c[0] * (a[1] * b[2] - a[2] * b[1]);
        expect(determinant).toBeCloseTo(1, 9);
      }
    }
  });
});

describe("CaptureClock", () => {
  /** Frames at about 30 Hz with a phone's jitter, stamped as browsers do: whole milliseconds times 90. */
  function film(frames: number, encodeMs: number, rtpOrigin: number): { clock: CaptureClock; at: (rtp: number) => number } {
    const clock = new CaptureClock();
    const captureByRtp = new Map<number, number>();
    let capture = 1_760_000_000_000;
    const late: { rtp: number; seen: number }[] = [];
    for (let i = 0; i < frames; i++) {
      capture += i % 7 === 3 ? 66.7 : 33.3 + ((i * 37) % 11) / 10; // dropped frames, uneven exposure
      const rtp = (Math.round(capture) * 90 + rtpOrigin) % 2 ** 32;
      captureByRtp.set(rtp, capture);
      clock.addCaptured(capture);
      late.push({ rtp, seen: capture + encodeMs });
    }
    for (const { rtp, seen } of late) clock.addEncoded(rtp, seen);
    return { clock, at: (rtp) => captureByRtp.get(rtp) ?? NaN };
  }

  it.each([8, 25, 48, 90])("finds the capture time of frames that took %i ms to encode", (encodeMs) => {
    const { clock, at } = film(60, encodeMs, 12345);
    const fix = clock.fix();
    expect(fix).not.toBeNull();
    expect(Math.abs((fix?.captureMs ?? 0) - at(fix?.rtp ?? 0))).toBeLessThan(2);
  });

  it("passes the wrap of the 32-bit stamp", () => {
    const untilWrap = 2 ** 32 - ((1_760_000_000_000 * 90) % 2 ** 32) - 90_000;
    const { clock, at } = film(60, 20, untilWrap);
    const fix = clock.fix();
    expect(Math.abs((fix?.captureMs ?? 0) - at(fix?.rtp ?? 0))).toBeLessThan(2);
  });

  it("says nothing before it knows enough", () => {
    const clock = new CaptureClock();
    expect(clock.fix()).toBeNull();
    clock.addEncoded(1, 1);
    clock.addCaptured(0);
    expect(clock.fix()).toBeNull();
  });
});

describe("answers on the DataChannel", () => {
  it("keeps nanoseconds exact", () => {
    const text = '{"t":"pose","capture_ns":"1760000000123456789","state":"tracked","world_from_camera":{"t":[1,2,3],"q_wxyz":[1,0,0,0]},"seen_share":0.4,"scale_source":"none","points":120}';
    expect(readAnswer(text)).toEqual({
      t: "pose",
      captureNs: 1_760_000_000_123_456_789n,
      state: "tracked",
      isAligned: true,
      worldFromCamera: { t: [1, 2, 3], qWxyz: [1, 0, 0, 0] },
      seenShare: 0.4,
      scaleSource: "none",
      points: 120,
    });
  });

  it.each(["", "null", "[]", "{}", '{"t":"new"}', '{"t":"pose","capture_ns":"-1x"}', '{"t":"pong","t0":"a"}', "{"])(
    "ignores %j",
    (text) => expect(readAnswer(text)).toBeNull(),
  );

  it("reads late poses and leaves out those that are none", () => {
    const placed = '"world_from_camera":{"t":[1,2,3],"q_wxyz":[1,0,0,0]}';
    const text = `{"t":"late","is_aligned":false,"poses":[{"capture_ns":"1760000000123456789",${placed}},{"capture_ns":"x",${placed}},{"capture_ns":"7"},null]}`;
    expect(readAnswer(text)).toEqual({
      t: "late",
      isAligned: false,
      poses: [{ captureNs: 1_760_000_000_123_456_789n, worldFromCamera: { t: [1, 2, 3], qWxyz: [1, 0, 0, 0] } }],
    });
    expect(readAnswer('{"t":"late","poses":7}')).toBeNull();
  });

  it("clamps shares and drops placements that are none", () => {
    const answer = readAnswer('{"t":"pose","capture_ns":"5","state":"lost","world_from_camera":{"t":[1],"q_wxyz":[]},"seen_share":7}');
    expect(answer).toMatchObject({ worldFromCamera: null, seenShare: 1 });
  });
});

it("counts headings clockwise from -z, seen from above", () => {
  expect([headingDeg([0, 0, -1]), headingDeg([1, 0, 0]), headingDeg([0, 0, 1]), headingDeg([-1, 0, 0])]).toEqual([
    0, 90, 180, 270,
  ]);
});

describe("links that lead nowhere", () => {
  it("are told before the camera is asked for", () => {
    for (const bad of ["", "..", "a/b", "a b", "x".repeat(65), "-a"]) expect(sceneTrouble(bad)?.title).toContain("no map");
    expect(sceneTrouble("a/b")?.isFinal).toBe(true); // no button offers to try what cannot help
    expect(serverTrouble(new ApiError(403, "no")).isFinal).toBeUndefined();
    for (const good of ["main", "hall.2", "A-1_b"]) expect(sceneTrouble(good)).toBeNull();
    expect(sceneTrouble("<b>".repeat(99))?.advice.length).toBeLessThan(200);
  });

  it("read the same whether the map is gone or never was one", () => {
    expect(serverTrouble(new ApiError(404, "no")).title).toBe(serverTrouble(new ApiError(405, "no")).title);
  });
});

describe("the privacy notice", () => {
  it("says what the server keeps", () => {
    const kept = sentences(readPrivacy({ keeps_pictures: true, kept_s: 86_400 }));
    expect(kept.pictures).toContain("keeps them for 24 hours");
    expect(kept.short).toContain("pictures of yours for 24 hours");
    const memory = sentences(readPrivacy({ keeps_pictures: false, kept_s: null }));
    expect(memory.pictures).toContain("not written to disk");
    expect(memory.path).toContain("as long as the map");
    expect(sentences({ keepsPictures: true, keptS: 604_800 }).pictures).toContain("for 7 days");
  });

  it("promises nothing on an answer that is none", () => {
    for (const answer of [null, {}, { keeps_pictures: "no", kept_s: 1 }, { keeps_pictures: false }]) {
      expect(() => readPrivacy(answer)).toThrow(TypeError);
    }
  });
});
