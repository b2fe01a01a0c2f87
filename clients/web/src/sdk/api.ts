/** The server's REST interface: Bearer token, problem+json errors. */

/** What the server refused, in its own words (RFC 9457), with the pause it asks for. */
export class ApiError extends Error {
  override readonly name = "ApiError";

  constructor(
    readonly status: number,
    detail: string,
    readonly retryAfterS: number | null = null,
  ) {
    super(detail);
  }

  /** The same request may be taken later. */
  get mayPass(): boolean {
    return this.status === 429 || this.status >= 500;
  }
}

export interface Access {
  readonly token?: string;
  /** For tests, and for runtimes without one. */
  readonly fetch?: typeof fetch;
}

export class Api {
  /** @param server the server's page address, as for `connect` */
  constructor(
    private readonly server: string | URL,
    private readonly access: Access = {},
  ) {}

  /** @throws ApiError when the server answers with an error; TypeError when it cannot be reached */
  async request(path: string | URL, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.access.token) headers.set("Authorization", `Bearer ${this.access.token}`);
    const send = this.access.fetch ?? ((input, how) => fetch(input, how));
    const response = await send(new URL(path, this.server), { ...init, headers });
    if (!response.ok) throw await problemOf(response);
    return response;
  }

  /** @param read turns the untyped answer into a value, or throws */
  async json<T>(path: string, read: (answer: unknown) => T, init?: RequestInit): Promise<T> {
    return read(await (await this.request(path, init)).json());
  }
}

async function problemOf(response: Response): Promise<ApiError> {
  const retryAfter = Number(response.headers.get("Retry-After") ?? NaN);
  const problem: unknown = await response.json().catch(() => null); // null: not problem+json, the status line has to do
  const { detail, title } = (problem ?? {}) as Readonly<Record<string, unknown>>;
  const words = [detail, title, response.statusText].find((text) => typeof text === "string" && text !== "");
  return new ApiError(response.status, String(words ?? `HTTP ${response.status}`), Number.isFinite(retryAfter) ? retryAfter : null);
}
