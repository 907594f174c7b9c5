/** Talking to the server. The token comes in the address's fragment and leaves only in a header. */

import { create } from "zustand";
import type { Document, Info, Json, Problem, RunEvent, RunLine, SessionLine, Spec } from "./types";

const KEY = "sim-devin.token";

/** Take the token out of the address; `then` is the fragment that stays. Returns whether there was one. */
export function takeToken(then = ""): boolean {
  const found = /(?:^#|&)token=([^&]+)/.exec(location.hash);
  if (!found?.[1]) return false;
  sessionStorage.setItem(KEY, found[1]);
  history.replaceState(null, "", location.pathname + then);
  return true;
}

/** Whether the server answers, and answers us: a new one does not know the token of the old one. */
export const useConnection = create<{ state: "up" | "down" | "stranger"; replayed: number }>(() => ({ state: "up", replayed: 0 }));

function answered(response: Response | null): void {
  const state = response === null ? "down" : response.status === 401 ? "stranger" : "up";
  if (useConnection.getState().state !== state) useConnection.setState({ state });
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly hint: string,
    readonly problems: string[],
  ) {
    super(message);
  }
}

/** Acts that the server has not answered yet -> their keys: sent again, each keeps its key, and takes effect once. */
const unanswered = new Map<string, string>();

async function request(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response> {
  const text = method === "GET" ? undefined : JSON.stringify(body ?? {});
  const act = [method, path, ...Object.values(headers), text].join("\n");
  const key = unanswered.get(act) ?? crypto.randomUUID();
  if (method !== "GET") unanswered.set(act, key);
  let response: Response;
  try {
    response = await fetch(`/api/${path}`, {
      method,
      headers: {
        Authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ""}`,
        ...(method === "GET" ? {} : { "Content-Type": "application/json", "Idempotency-Key": key }),
        ...headers,
      },
      body: text,
    });
  } catch {
    answered(null);
    throw new ApiError(0, "The server does not respond.", "Is sim-devin serve still running?", []);
  }
  answered(response);
  if (response.status < 500 && response.status !== 401) unanswered.delete(act); // else it may be done, and is asked for again
  if (response.headers.has("Idempotent-Replayed")) useConnection.setState(({ replayed }) => ({ replayed: replayed + 1 }));
  if (!response.ok) {
    const error = ((await response.json().catch(() => ({}))) as { error?: Record<string, Json> }).error ?? {};
    throw new ApiError(
      response.status,
      String(error.message ?? `The server returned ${response.status}.`),
      String(error.hint ?? ""),
      Array.isArray(error.problems) ? error.problems.map(String) : [],
    );
  }
  return response;
}

async function json<T>(method: string, path: string, body?: unknown): Promise<T> {
  return (await (await request(method, path, body)).json()) as T;
}

const etagOf = (response: Response) => response.headers.get("ETag") ?? "";
const name = encodeURIComponent;

export const api = {
  info: () => json<Info>("GET", "info"),
  blocks: async () => (await json<{ blocks: Spec[] }>("GET", "blocks")).blocks,
  workflows: async () => (await json<{ workflows: string[] }>("GET", "workflows")).workflows,
  templates: async () =>
    (await json<{ templates: { name: string; title: string; description: string }[] }>("GET", "templates")).templates,
  template: async (id: string) => (await json<{ document: Document }>("GET", `templates/${name(id)}`)).document,
  async read(workflow: string) {
    const response = await request("GET", `workflows/${name(workflow)}`);
    return { document: ((await response.json()) as { document: Document }).document, etag: etagOf(response) };
  },
  async write(workflow: string, document: Document, etag: string | null) {
    const headers: Record<string, string> = etag ? { "If-Match": etag } : { "If-None-Match": "*" };
    return etagOf(await request("PUT", `workflows/${name(workflow)}`, { document }, headers));
  },
  remove: (workflow: string, etag: string) => request("DELETE", `workflows/${name(workflow)}`, {}, { "If-Match": etag }),
  rename: (workflow: string, to: string, etag: string) => request("POST", `workflows/${name(workflow)}/rename`, { to }, { "If-Match": etag }),
  check: async (workflow: string, document: Document) =>
    (await json<{ problems: Problem[] }>("POST", "check", { workflow, document })).problems,
  putSecret: (id: string, value: string) => json<unknown>("PUT", `secrets/${name(id)}`, { value }),
  deleteSecret: (id: string) => json<unknown>("DELETE", `secrets/${name(id)}`),
  runs: async () => (await json<{ runs: RunLine[] }>("GET", "runs")).runs,
  start: (body: Record<string, unknown>) => json<RunLine>("POST", "runs", body),
  resume: (run: string) => json<RunLine>("POST", `runs/${run}/resume`),
  stop: (run: string) => json<unknown>("POST", `runs/${run}/stop`),
  answer: (run: string, contextId: string, answer: Json, question?: number) => json<RunLine>("POST", `runs/${run}/answer`, { contextId, answer, question }),
  log: (run: string, order: number) => json<{ input?: Json; output?: Json; error?: string }>("GET", `runs/${run}/logs/${order}`),
  messages: async (run: string, block: string, session: string) =>
    (await json<{ messages: { source?: string; message?: string }[] }>(
      "GET",
      `runs/${run}/messages?block=${name(block)}&session=${name(session)}`,
    )).messages,
  say: (run: string, block: string, session: string, message: string, seen?: number) =>
    json<unknown>("POST", `runs/${run}/messages`, { block, session, message, seen }),
  sessions: async (run: string) => (await json<{ sessions: SessionLine[] }>("GET", `runs/${run}/sessions`)).sessions,
  endSession: (run: string, session: string) => json<SessionLine>("POST", `runs/${run}/sessions/${name(session)}/end`),

  /** Read a run's events until it ends or pauses; EventSource cannot send the token. */
  async follow(run: string, after: number, signal: AbortSignal, take: (number: number, event: RunEvent) => void): Promise<void> {
    const response = await fetch(`/api/runs/${run}/events?after=${after}`, {
      headers: { Authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ""}` },
      signal,
    });
    if (!response.ok || !response.body) throw new ApiError(response.status, "The run's events cannot be read.", "", []);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop() ?? "";
      for (const part of parts) {
        const found = /^id: (\d+)\ndata: (.*)$/s.exec(part);
        if (found) take(Number(found[1]), JSON.parse(found[2]!) as RunEvent);
      }
    }
  },
};
