// A plan in a link: JSON, deflated, base64url, in the fragment, which no server sees.
//
// ```text
//   #1.<base64url(deflate-raw({"text": …, "layout": {id: [x, y]}}))>
// ```
//
// A link may come from anyone: it is bounded before and while it is unpacked, and its text goes through the
// same parser as what is typed.

import { type Layout, packLayout, parseLayout } from "./layout";

export interface Shared {
  text: string;
  layout: Layout;
}

/** Characters of a fragment, and bytes it may unpack to. */
export const FRAGMENT_MAX = 96 * 1024;
export const UNPACKED_MAX = 512 * 1024;
const VERSION = "1.";

export async function pack(shared: Shared): Promise<string> {
  const json = JSON.stringify({ text: shared.text, layout: packLayout(shared.layout) });
  const bytes = await through(new TextEncoder().encode(json), new CompressionStream("deflate-raw"), Number.POSITIVE_INFINITY);
  const fragment = VERSION + toBase64Url(bytes);
  if (fragment.length > FRAGMENT_MAX) throw new Error(`the plan is too long for a link: ${fragment.length} of ${FRAGMENT_MAX} characters`);
  return fragment;
}

/** What a fragment says; an error in words if it says nothing. */
export async function unpack(fragment: string): Promise<Shared> {
  if (fragment.length > FRAGMENT_MAX) throw new Error("the link is too long to be a plan");
  if (!fragment.startsWith(VERSION)) throw new Error("the link is not one of this planner's");
  let value: unknown;
  try {
    const bytes = await through(fromBase64Url(fragment.slice(VERSION.length)), new DecompressionStream("deflate-raw"), UNPACKED_MAX);
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new Error(error instanceof TooLong ? "the link unpacks to more than a plan may be" : "the link is damaged");
  }
  const text = typeof value === "object" && value !== null && "text" in value ? value.text : undefined;
  if (typeof text !== "string") throw new Error("the link holds no plan");
  return { text, layout: parseLayout((value as { layout?: unknown }).layout) };
}

class TooLong extends Error {}

async function through(input: Uint8Array<ArrayBuffer>, stream: CompressionStream | DecompressionStream, max: number): Promise<Uint8Array> {
  const writer = stream.writable.getWriter();
  // Its failure shows in the reader, too.
  const written = writer.write(input).then(() => writer.close()).catch(() => undefined);
  const reader = stream.readable.getReader();
  const parts: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > max) {
      await reader.cancel();
      throw new TooLong();
    }
    parts.push(value);
  }
  await written;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function toBase64Url(bytes: Uint8Array): string {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 0x8000) binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function fromBase64Url(text: string): Uint8Array<ArrayBuffer> {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) throw new Error("not base64url");
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (char) => char.charCodeAt(0));
}
