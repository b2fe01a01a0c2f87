/** The QR code that lets a phone join; hidden where the server offers none to this visitor. */

import { type Api, ApiError } from "../sdk/api.js";
import { byId } from "../page/dom.js";

/** Join codes are short-lived: while one is on the screen it is renewed. */
const RENEW_MS = 5 * 60 * 1000;

interface Invitation {
  readonly url: string;
  readonly svg: string;
}

export class JoinCard {
  private available = false;
  private askedMs = -Infinity;

  constructor(
    private readonly api: Api,
    private readonly scene: () => string,
    private readonly mayAsk: boolean,
  ) {}

  /** Ask for a code now if the shown one is old; safe to call often. */
  async refresh(force = false): Promise<void> {
    if (!force && performance.now() - this.askedMs < RENEW_MS) return;
    this.askedMs = performance.now();
    if (!this.mayAsk) return this.show(null);
    try {
      this.show(await this.api.json(`v1/join?scene=${encodeURIComponent(this.scene())}`, readInvitation));
    } catch (error) {
      if (!(error instanceof ApiError)) this.askedMs = -Infinity; // out of reach: ask again when it is back
      this.show(null);
    }
  }

  get isAvailable(): boolean {
    return this.available;
  }

  private show(invitation: Invitation | null): void {
    this.available = invitation !== null;
    for (const host of document.querySelectorAll<HTMLElement>(".invitation")) {
      host.hidden = invitation === null;
      if (invitation === null) continue;
      const [image, link] = [host.querySelector("img"), host.querySelector("a")];
      if (image !== null) image.src = `data:image/svg+xml,${encodeURIComponent(standalone(invitation.svg))}`;
      if (link !== null) {
        link.href = invitation.url;
        link.textContent = withoutToken(invitation.url);
      }
    }
    byId("noInvitation").hidden = invitation !== null;
  }
}

/** The address as people read it; the token stays in the link itself. */
function withoutToken(url: string): string {
  const { host, pathname } = new URL(url, location.href);
  return host + pathname;
}

/** An SVG made to stand inside a page lacks the namespace that an image of its own needs. */
function standalone(svg: string): string {
  return svg.includes("xmlns=") ? svg : svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"');
}

function readInvitation(answer: unknown): Invitation {
  const { url, svg } = answer as Readonly<Record<string, unknown>>;
  if (typeof url !== "string" || typeof svg !== "string") throw new ApiError(502, "the answer holds no link");
  return { url, svg };
}
