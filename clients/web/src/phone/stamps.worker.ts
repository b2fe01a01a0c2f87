/** Reads the RTP timestamp of every encoded frame on its way out, in the thread where RTCRtpScriptTransform runs. */

interface EncodedFrame {
  getMetadata(): { rtpTimestamp?: number };
  readonly timestamp?: number;
}

interface TransformScope {
  onrtctransform:
    | ((event: {
        transformer: { readable: ReadableStream<EncodedFrame>; writable: WritableStream<EncodedFrame> };
      }) => void)
    | null;
  postMessage(message: { rtp: number; seenMs: number }): void;
}

const scope = self as unknown as TransformScope;

scope.onrtctransform = ({ transformer }) => {
  const reader = new TransformStream<EncodedFrame, EncodedFrame>({
    transform(frame, controller) {
      controller.enqueue(frame); // first: the picture must not wait for our bookkeeping
      const rtp = frame.getMetadata().rtpTimestamp ?? frame.timestamp;
      if (rtp !== undefined) scope.postMessage({ rtp, seenMs: performance.timeOrigin + performance.now() });
    },
  });
  void transformer.readable.pipeThrough(reader).pipeTo(transformer.writable);
};

export {};
