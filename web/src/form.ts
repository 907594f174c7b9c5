/** The form of a block: which fields are shown and which must have a value, as `FormField` says. */

import { split } from "./references";
import type { Block, Field, Json, Spec } from "./types";

export type Values = Record<string, Json>;

export function valuesOf(block: Block): Values {
  return Object.fromEntries(Object.entries(block.subBlocks ?? {}).map(([id, sub]) => [id, sub?.value ?? null]));
}

function asOption(value: Json | undefined): Json | undefined {
  return typeof value === "boolean" ? String(value) : value;
}

/** Whether a value is one of the options; a number is not its text. */
const isOneOf = (value: Json | undefined, accepted: string[]) => accepted.includes(value as string);

export function isShown(spec: Spec, field: Field, values: Values): boolean {
  if (field.shownFor !== null && !isOneOf(values[spec.operationField ?? "operation"], field.shownFor)) return false;
  return Object.entries(field.conditions).every(([id, accepted]) => isOneOf(asOption(values[id]), accepted));
}

export function isRequired(spec: Spec, field: Field, values: Values): boolean {
  if (!isShown(spec, field, values)) return false;
  return field.required || isOneOf(values[spec.operationField ?? "operation"], field.requiredFor);
}

/** Whether a block comes with the package, so that nobody has to be told whose it is. */
export const isBuiltIn = (spec: Spec) => ["devin", "workflow"].includes(spec.owner);

export function operationOf(spec: Spec, block: Block): string {
  if (!spec.operationField) return spec.operations[0] ?? "";
  const chosen = block.subBlocks?.[spec.operationField]?.value;
  const fallback = spec.fields.find((field) => field.id === spec.operationField)?.default;
  return String(chosen || fallback || spec.operations[0] || "");
}

export function operationLabel(spec: Spec, block: Block): string {
  const field = spec.fields.find((item) => item.id === spec.operationField);
  const operation = operationOf(spec, block);
  return field?.options.find((option) => option.id === operation)?.label ?? operation;
}

/** Rows of a JSON list field, whether stored as a list or as its text. */
export function rowsOf(value: Json | undefined): Record<string, Json>[] {
  let rows: unknown = value;
  if (typeof value === "string" && value.trim()) {
    try {
      rows = JSON.parse(value);
    } catch {
      rows = [];
    }
  }
  return Array.isArray(rows) ? rows.filter((row) => row && typeof row === "object" && !Array.isArray(row)) : [];
}

export const isSecretMark = (value: Json | undefined): boolean =>
  typeof value === "object" && value !== null && !Array.isArray(value) && "$secret" in value;

/** Whether a value holds anything that is not a reference. */
export function isLiteral(value: Json | undefined): boolean {
  if (value === null || value === undefined || value === "") return false;
  return typeof value !== "string" || split(value).some((segment) => typeof segment === "string" && segment.trim() !== "");
}
