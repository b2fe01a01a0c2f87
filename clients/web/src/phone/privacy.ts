/** What the privacy notice says of pictures and paths, as this server is set up: it knows, the page does not. */

import { type Api } from "../sdk/api.js";
import { byId } from "../page/dom.js";

export interface Privacy {
  readonly keepsPictures: boolean;
  /** How long pictures and the camera's path stay on disk; null: as long as the map. */
  readonly keptS: number | null;
}

/** @throws TypeError when the answer is none of ours */
export function readPrivacy(answer: unknown): Privacy {
  const fields = typeof answer === "object" && answer !== null ? (answer as Readonly<Record<string, unknown>>) : {};
  const { keeps_pictures: keepsPictures, kept_s: keptS } = fields;
  if (typeof keepsPictures !== "boolean" || (typeof keptS !== "number" && keptS !== null)) {
    throw new TypeError("the server does not say what it keeps");
  }
  return { keepsPictures, keptS };
}

/** The sentences that depend on the server: what becomes of pictures, short and long, and how long the path stays. */
export function sentences({ keepsPictures, keptS }: Privacy): { short: string; pictures: string; path: string } {
  const time = keptS === null ? "as long as the map" : `for ${duration(keptS)}`;
  return {
    short: keepsPictures
      ? `the shape and colour of surfaces, and some pictures of yours ${time}.`
      : "the shape and colour of surfaces. Pictures stay in memory while they are measured, then go.",
    pictures: keepsPictures
      ? `This server also writes some of the pictures to disk and keeps them ${time}.`
      : "Pictures live in the server’s memory only; they are not written to disk.",
    path: `The path of the camera is kept ${time}.`,
  };
}

/** Put the server's own word into the notice. While it cannot be asked, the notice claims nothing about pictures. */
export async function tellPrivacy(api: Api): Promise<void> {
  const { short, pictures, path } = await api.json("v1/privacy", readPrivacy).then(sentences, () => ({
    short: "the shape and colour of surfaces. Ask whoever runs this server what becomes of pictures.",
    pictures: "Ask whoever runs this server whether it keeps pictures.",
    path: "",
  }));
  byId("keptShort").textContent = short;
  byId("keptPictures").textContent = pictures;
  byId("keptPath").textContent = path;
}

function duration(seconds: number): string {
  const [size, unit] = seconds >= 172_800 ? [86_400, "day"] : seconds >= 7200 ? [3600, "hour"] : [60, "minute"];
  const count = Math.max(1, Math.round(seconds / size));
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}
