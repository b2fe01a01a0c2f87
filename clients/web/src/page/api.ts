/** The server's REST interface as the pages use it: one origin, Bearer token, problem+json errors. */

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
}

export class Api {
  constructor(
    private readonly base: URL,
    private readonly token: string | null,
  ) {}

  url(path: string): URL {
    return new URL(path, this.base);
  }

  /** @throws ApiError when the server answers with an error; TypeError when it cannot be reached */
  async request(path: string | URL, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.token !== null) headers.set("Authorization", `Bearer ${this.token}`);
    const response = await fetch(typeof path === "string" ? this.url(path) : path, { ...init, headers });
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
  let detail = response.statusText || `HTTP ${response.status}`;
  try {
    const problem: unknown = await response.json();
    if (typeof problem === "object" && problem !== null) {
      if ("detail" in problem && typeof problem.detail === "string") detail = problem.detail;
      else if ("title" in problem && typeof problem.title === "string") detail = problem.title;
    }
  } catch {
    // not problem+json: the status line has to do
  }
  return new ApiError(response.status, detail, Number.isFinite(retryAfter) ? retryAfter : null);
}
