/** What travels between the page and the server. Documents are Sim exports, as they are. */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export interface SubBlock {
  id: string;
  type: string;
  value: Json;
}

export interface Block {
  id: string;
  type: string;
  name: string;
  position: { x: number; y: number };
  subBlocks: Record<string, SubBlock>;
  outputs?: Json;
  enabled?: boolean;
  advancedMode?: boolean;
  triggerMode?: boolean;
  data?: Record<string, Json>;
  [other: string]: unknown;
}

export interface Edge {
  id: string;
  source: string;
  target: string;
  sourceHandle?: string | null;
  targetHandle?: string | null;
  [other: string]: unknown;
}

export interface State {
  blocks: Record<string, Block>;
  edges: Edge[];
  loops?: Record<string, Json>;
  parallels?: Record<string, Json>;
  variables?: Json;
  metadata?: Record<string, Json>;
  [other: string]: unknown;
}

/** The export's envelope, or the bare state of an older export. */
export type Document = { state: State; [other: string]: unknown } | State;

export interface Field {
  id: string;
  param: string | null;
  title: string;
  widget: string;
  type: string;
  description: string;
  placeholder: string;
  options: { id: string; label: string }[];
  default: Json;
  advanced: boolean;
  secret: boolean;
  shownFor: string[] | null;
  requiredFor: string[];
  required: boolean;
  conditions: Record<string, string[]>;
}

export interface Spec {
  type: string;
  title: string;
  description: string;
  category: string;
  color: string;
  icon: string;
  docs: string;
  owner: string;
  operationField: string | null;
  operations: string[];
  descriptions: Record<string, string>;
  costsMoney: string[];
  fields: Field[];
  outputs: Record<string, Record<string, { type: string | string[]; description: string }>>;
  credentials: Record<string, string>;
  runnable: boolean;
}

export interface Problem {
  problem: string;
  place: string;
  hint: string;
  level: "error" | "warning";
  blockId: string | null;
  field: string;
}

export interface Info {
  version: string;
  folder: string;
  simulated: boolean;
  speed: number;
  variables: { name: string; set: boolean; stored: boolean }[];
  secretNames: [plain: string, asWritten: string]; // regular expressions of the names of secrets
}

export interface PausePoint {
  contextId: string;
  blockId: string;
  blockName: string;
  pauseKind: string;
  resumeAt?: string;
  response?: { data?: { inputFormat?: FormatRow[]; responseStructure?: FormatRow[] } };
  message?: string; // what happened, where it is not a form that somebody designed
  hint?: string;
  choices?: Choice[];
}

/** One of several answers: what it is called, and what is sent, with the fields it asks for. */
export interface Choice {
  label: string;
  help?: string;
  answer: { [key: string]: Json };
  fields?: FormatRow[];
}

export interface FormatRow {
  id?: string;
  name: string;
  type?: string;
  value?: Json;
  label?: string;
  description?: string;
  required?: boolean;
}

export interface Progress {
  sessionId: string;
  url?: string | null;
  acusConsumed?: number | null;
  outcome: string;
  reason: string;
  nextLookSeconds: number;
}

export interface Highlights {
  sessionId?: string;
  url?: string;
  acusConsumed?: number;
  pullRequests?: { pr_url?: string; pr_state?: string }[];
  structuredOutput?: Json;
  outcome?: string;
}

/** A pass of a container around a block, from 1. */
export interface Pass {
  block: string;
  pass: number;
}

/** What an execution asks a person: a form, or an answer to its session. */
export interface Ask {
  kind: "form" | "session";
  answerTo?: string; // where the run takes the answer; without it, the session alone gets a message
  point?: PausePoint;
  session?: string;
  reason?: string;
  text?: string; // what Devin asked
  question?: number; // which of its questions it is
}

/** What there is to say of a run besides its status. */
export interface Summary {
  tone: Tone | "";
  words: string;
}

export interface RunEvent {
  event: string;
  runId: string;
  time?: string;
  block?: string;
  blockId?: string;
  blockName?: string;
  blockType?: string;
  startedAt?: string;
  endedAt?: string | null;
  durationMs?: number | null;
  executionOrder?: number;
  iterationIndex?: number;
  error?: string;
  hint?: string;
  errorHandled?: boolean;
  reason?: string;
  warning?: string;
  attempt?: number;
  progress?: Progress | string;
  highlights?: Highlights;
  child?: boolean;
  execution?: string; // which execution of the block
  passes?: Pass[]; // of the containers around, outermost first
  verdict?: Verdict;
  ask?: Ask | null;
  summary?: Summary;
  status?: RunStatus;
  state?: string;
  canResume?: boolean;
  result?: { success: boolean; output: Json; error?: string; hint?: string; pausePoints?: PausePoint[]; durationMs?: number };
}

export type RunStatus = "running" | "paused" | "finished" | "failed" | "cancelled" | "lost";

export interface RunLine {
  id: string;
  workflow: string; // its file in this folder, or nothing
  title: string;
  status: RunStatus;
  state: string; // the same in the store's words
  canResume: boolean;
  startedAt: string;
  endedAt: string | null;
  error: string | null;
  summary: Summary;
}

/** How a session is shown: the server decides what its state means. */
export interface Verdict {
  state: string;
  tone: Tone;
  words: string;
  reason: string;
  canAnswer: boolean;
}

export type Tone = "good" | "busy" | "attention" | "bad";

/** A session that a run has created, as the service has it now. */
export interface SessionLine {
  sessionId: string | null;
  goesOn: boolean; // whether it may still work, and so cost something
  title?: string | null;
  url?: string | null;
  acusConsumed?: number | null;
  verdict?: Verdict;
  error?: string;
}
