// Requests. In: places of the API. Out: their answers, or a `Problem` with the sentence to show. The token goes into the header
// `Authorization` and nowhere else: not into addresses, not into cookies.
import { Cell } from "./cell";

/** Where everything is: the page may be nested in another server. */
const BASE = new URL(".", document.baseURI);
const KEPT = "flowcast-token";

export class Problem extends Error {
  constructor(readonly status: number, readonly code: string, detail: string, readonly parts: string[] = []) {
    super(detail);
  }
}

/** The token is missing or was refused: the page asks for one. */
export const refused = new Cell<string | null>(null);

/** Something was done and is not on the server's disk: why. */
export const unsaved = new Cell<{ why: string } | null>(null);

let token = sessionStorage.getItem(KEPT) ?? localStorage.getItem(KEPT) ?? "";

export function hasToken(): boolean {
  return token !== "";
}

export function setToken(secret: string, isKept: boolean): void {
  token = secret;
  forgetToken();
  (isKept ? localStorage : sessionStorage).setItem(KEPT, secret);
  refused.set(null);
}

export function signOut(): void {
  token = "";
  forgetToken();
  refused.set("");
}

function forgetToken(): void {
  sessionStorage.removeItem(KEPT);
  localStorage.removeItem(KEPT);
}

export function place(path: string): string {
  return new URL(path, BASE).href;
}

export function headers(): Record<string, string> {
  return token === "" ? {} : { authorization: `Bearer ${token}` };
}

/** Sends a request; fails with a `Problem`. */
export async function request(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const sent = headers();
  if (body !== undefined) sent["content-type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(place(path), {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ?? null,
      credentials: "omit",
      cache: "no-store",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, "UNREACHABLE", "The server cannot be reached.");
  }
  if (response.ok) {
    const why = response.headers.get("flowcast-unsaved");
    if (why) unsaved.set({ why });
    return response;
  }
  const problem = await described(response);
  // Who has been called off says nothing any more.
  if (response.status === 401 && !signal?.aborted) refused.set(token === "" ? "" : problem.message);
  throw problem;
}

async function described(response: Response): Promise<Problem> {
  try {
    const { code, detail, problems } = await response.json();
    const parts = (problems ?? []).map((part: { place: string; detail: string }) => `${part.place}: ${part.detail}`);
    return new Problem(response.status, code, detail, parts);
  } catch {
    return new Problem(response.status, "HTTP", `The server answered ${response.status}.`);
  }
}

export async function ask<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  return (await request(method, `api/v1/${path}`, body, signal)).json();
}

export const get = <T>(path: string, signal?: AbortSignal): Promise<T> => ask<T>("GET", path, undefined, signal);
