// Plays a stream by HTTP-FLV. Loaded only when a preview is opened. In: an address. Out: moving pictures, until it is stopped. A player that
// stands still is made anew.
import mpegts from "mpegts.js";

const STANDS_STILL = 6000;

export type Said = "plays" | "waits" | "unsupported" | "ended";

export function play(
  video: HTMLVideoElement,
  url: string,
  headers: Record<string, string>,
  tell: (said: Said) => void,
): () => void {
  if (!mpegts.isSupported() || !mpegts.getFeatureList().mseLivePlayback) {
    tell("unsupported");
    return () => {};
  }
  mpegts.LoggingControl.applyConfig({ enableAll: false });
  let player: mpegts.Player | null = null;
  let [last, since] = [-1, performance.now()];

  const destroy = () => {
    const old = player;
    player = null;
    if (!old) return;
    try {
      old.destroy();
    } catch {
      // It was broken: that is why it goes.
    }
  };
  const create = () => {
    destroy();
    [last, since] = [-1, performance.now()];
    const made = mpegts.createPlayer(
      { type: "flv", isLive: true, url, hasAudio: undefined, hasVideo: undefined },
      {
        headers,
        enableWorker: false,
        enableStashBuffer: false,
        liveSync: true,
        liveSyncMaxLatency: 3,
        liveSyncTargetLatency: 1,
        autoCleanupSourceBuffer: true,
        autoCleanupMaxBackwardDuration: 20,
        autoCleanupMinBackwardDuration: 10,
      },
    );
    player = made;
    made.attachMediaElement(video);
    made.load();
    void Promise.resolve(made.play()).catch(() => {});
  };
  const watchdog = setInterval(() => {
    const now = performance.now();
    if (video.currentTime !== last) {
      if (last >= 0) tell("plays");
      [last, since] = [video.currentTime, now];
    } else if (video.paused && !video.ended && last > 0) {
      since = now;
    } else if (now - since > STANDS_STILL) {
      tell("waits");
      create();
    }
  }, 500);
  tell("waits");
  create();
  return () => {
    clearInterval(watchdog);
    destroy();
    video.removeAttribute("src");
    video.load();
  };
}
