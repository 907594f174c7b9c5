/** What leaves by export or by copying has no secret in it, stored or typed. */

import { stateOf, withState } from "./document";
import { isLiteral, isSecretMark } from "./form";
import { split } from "./references";
import type { Block, Document, Json, Spec } from "./types";

/** Returns whether a name is one of a secret, by the patterns that the server decides it with. */
export function secretNames([plain, asWritten]: [string, string]): (name: string) => boolean {
  const [first, second] = [new RegExp(plain), new RegExp(asWritten)];
  return (name) => first.test(name.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "")) || second.test(name);
}

type IsSecret = (name: string) => boolean;

/** A document as it leaves: literal secrets are left out, by their field and by their name, as Sim's export does. */
export function exported(document: Document, specs: Record<string, Spec>, isSecret: IsSecret): Document {
  const { blocks, variables } = stateOf(document);
  const told = (block: Block): Block => {
    const fields = specs[block.type]?.fields;
    const isSecretField = (id: string) => (fields ? fields.some((field) => field.id === id && field.secret) : isSecret(id));
    const left = (id: string, value: Json) => {
      if (isSecretMark(value) || (isSecretField(id) && isLiteral(value))) return null;
      return withoutSecrets(value, isSecret);
    };
    const subBlocks = mapped(block.subBlocks ?? {}, (sub, id) => {
      const value = sub && left(id, sub.value ?? null);
      return !sub || value === (sub.value ?? null) ? sub : { ...sub, value };
    });
    return subBlocks === block.subBlocks ? block : { ...block, subBlocks };
  };
  const change = { blocks: mapped(blocks, told), ...(variables === undefined ? {} : { variables: withoutSecrets(variables, isSecret) }) };
  return withState(document, change);
}

/** Return JSON data without the literal values of what is secret by its name: of rows, and of keys. */
function withoutSecrets(value: Json, isSecret: IsSecret): Json {
  if (typeof value === "string") return textWithoutSecrets(value, isSecret);
  if (Array.isArray(value)) {
    const items = value.map((item) => withoutSecrets(item, isSecret));
    return items.every((item, at) => item === value[at]) ? value : items;
  }
  if (typeof value !== "object" || value === null) return value;
  const keyOf = (...names: string[]) => Object.keys(value).find((key) => names.includes(key.toLowerCase()) && typeof value[key] !== "object");
  const row = { name: value[keyOf("key", "name", "variablename") ?? ""], value: keyOf("value") };
  const isOf = (key: string) => isSecret(key) || (key === row.value && typeof row.name === "string" && isSecret(row.name));
  return mapped(value, (item, key) => (isOf(key) && isTyped(item) ? "" : withoutSecrets(item, isSecret)));
}

/** The same in a text: the parameters of an address, JSON, or members of JSON with references between them. */
function textWithoutSecrets(given: string, isSecret: IsSecret): string {
  const text = given.replace(/([?&])([\w.%-]+)=([^&#\s"'<>]+)/g, (all, before: string, name: string, value: string) =>
    isSecret(decoded(name)) && isTyped(value) ? `${before}${name}=` : all);
  if (!/[[{]/.test(text)) return text;
  try {
    const parsed = JSON.parse(text) as Json;
    const left = withoutSecrets(parsed, isSecret);
    return left === parsed ? text : JSON.stringify(left, null, text.includes("\n") ? 2 : undefined);
  } catch {
    return text.replace(/"((?:[^"\\]|\\.)*)"(\s*:\s*)"((?:[^"\\]|\\.)*)"/g, (member, name: string, colon: string, value: string) =>
      isSecret(name) && isTyped(value) ? `"${name}"${colon}""` : member);
  }
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/** Whether a value of a secret name was typed: "Bearer {{TOKEN}}" is a reference, after the word of a scheme. */
function isTyped(value: Json | undefined): boolean {
  if (typeof value === "number") return true;
  if (typeof value !== "string" || !isLiteral(value)) return false;
  const [first, ...rest] = split(value);
  return !(typeof first === "string" && /^\s*[A-Za-z][\w-]*\s+$/.test(first) && rest.length > 0 && rest.every((part) => typeof part !== "string" || !part.trim()));
}

/** An object with each value changed: itself, if none was. */
function mapped<T>(object: Record<string, T>, change: (value: T, key: string) => T): Record<string, T> {
  const entries = Object.entries(object).map(([key, value]) => [key, change(value, key)] as const);
  return entries.every(([key, value]) => value === object[key]) ? object : Object.fromEntries(entries);
}
