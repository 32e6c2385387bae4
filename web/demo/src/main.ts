// The demo: chat, cursors, presence and prices on one connection.

import { Client, type Publication, type Room } from "@tidegate/client";
import { Chart } from "./chart.js";

const SYMBOLS = ["AAPL", "AMZN", "GOOG", "IBM", "MSFT"];
const CURSOR_INTERVAL_MS = 40;
const CURSOR_AGE_MS = 15_000;
const MESSAGES_MAX = 300;

function element<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no #${id}`);
  return found as T;
}

/** A name for this tab, so that two tabs are two people. A reload keeps it. */
function ownName(): string {
  const kept = sessionStorage.getItem("name");
  if (kept) return kept;
  const pick = (words: string) => words.split(" ")[Math.floor(Math.random() * words.split(" ").length)];
  const name = `${pick("Calm Brisk Bright Quiet Salty Swift Amber Misty")}-${pick("Tern Otter Heron Seal Crab Gull Plover Whelk")}-${Math.floor(Math.random() * 90 + 10)}`;
  sessionStorage.setItem("name", name);
  return name;
}

function hue(user: string): string {
  let sum = 0;
  for (const char of user) sum = (sum * 31 + char.charCodeAt(0)) % 360;
  return String(sum);
}

const me = ownName();
const scheme = location.protocol === "https:" ? "wss" : "ws";
const client = new Client({ url: `${scheme}://${location.host}/v1/ws`, token: me });
element("me").textContent = me;

// ---- connection ----------------------------------------------------------------

client.on("state", ({ state, why }) => {
  element("status").dataset.state = state;
  element("state").textContent = why && state !== "connected" ? `${state}: ${why.replaceAll("_", " ")}` : state;
});

// ---- chat ----------------------------------------------------------------------

const chat = client.join("chat:lobby", { last: 50, enter: true, members: true });
const messages = element<HTMLOListElement>("messages");

function say(line: HTMLLIElement): void {
  const isAtEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 40;
  messages.append(line);
  if (messages.childElementCount > MESSAGES_MAX) messages.firstElementChild?.remove();
  if (isAtEnd) messages.scrollTop = messages.scrollHeight;
}

function note(text: string): void {
  const line = document.createElement("li");
  line.className = "note";
  line.textContent = text;
  say(line);
}

chat.on("event", (event) => {
  const { data } = event;
  if (typeof data !== "object" || data === null || !("text" in data)) return;
  const line = document.createElement("li");
  const who = document.createElement("b");
  who.textContent = event.from;
  who.style.setProperty("--hue", hue(event.from));
  line.append(who, String(data.text));
  line.dataset.offset = String(event.offset);
  say(line);
});

let isFirstJoin = true;
chat.on("joined", ({ recovery, replayed }) => {
  if (!isFirstJoin) {
    if (recovery === "replay") note(`back: caught up ${replayed} message${replayed === 1 ? "" : "s"}`);
    if (recovery === "none") note("back: nothing was missed");
  }
  isFirstJoin = false;
  showMembers();
});
chat.on("gap", ({ reason }) => note(`some messages are gone (${reason})`));
chat.on("members", showMembers);

function showMembers(): void {
  element("count").textContent = `${chat.count} here`;
  element("members").replaceChildren(
    ...chat.members.map(({ user }) => {
      const item = document.createElement("li");
      item.textContent = user === me ? `${user} (you)` : user;
      item.style.setProperty("--hue", hue(user));
      return item;
    }),
  );
}

element<HTMLFormElement>("form").addEventListener("submit", (submit) => {
  submit.preventDefault();
  const input = element<HTMLInputElement>("text");
  const text = input.value.trim();
  input.value = "";
  if (text) chat.publish({ text }).catch((error: Error) => note(`not sent: ${error.message}`));
});

// ---- cursors -------------------------------------------------------------------

const cursors = client.join("cursor:lobby");
const sea = element("sea");
const shown = new Map<string, { node: HTMLElement; seenAt: number }>();
let waiting: { x: number; y: number } | undefined;
let isSending = false;

sea.addEventListener("pointermove", (move) => {
  const box = sea.getBoundingClientRect();
  waiting = { x: (move.clientX - box.left) / box.width, y: (move.clientY - box.top) / box.height };
  sendCursor();
});

/** The newest place only, and never two on the way: a slow network sees fewer moves, not old ones. */
function sendCursor(): void {
  if (isSending || !waiting || client.state !== "connected") return;
  const place = waiting;
  waiting = undefined;
  isSending = true;
  const rest = new Promise((resolve) => setTimeout(resolve, CURSOR_INTERVAL_MS));
  Promise.allSettled([cursors.publish(place, { key: me }), rest]).then(() => {
    isSending = false;
    sendCursor();
  });
}

cursors.on("event", (event) => {
  if (event.from === me) return;
  const { x, y } = (event.data ?? {}) as { x?: unknown; y?: unknown };
  if (typeof x !== "number" || typeof y !== "number") return;
  const cursor = shown.get(event.from) ?? { node: newCursor(event), seenAt: 0 };
  shown.set(event.from, cursor);
  cursor.seenAt = Date.now();
  cursor.node.style.transform = `translate(${x * sea.clientWidth}px, ${y * sea.clientHeight}px)`;
});

function newCursor(event: Publication): HTMLElement {
  const node = document.createElement("div");
  node.className = "cursor";
  node.dataset.user = event.from;
  node.style.setProperty("--hue", hue(event.from));
  node.innerHTML = '<svg viewBox="0 0 16 16"><path d="M1 1l5 14 2.5-6.5L15 6z"/></svg><b></b>';
  const name = node.querySelector("b");
  if (name) name.textContent = event.from;
  sea.append(node);
  return node;
}

setInterval(() => {
  for (const [user, cursor] of shown) {
    if (Date.now() - cursor.seenAt < CURSOR_AGE_MS) continue;
    cursor.node.remove();
    shown.delete(user);
  }
}, 1_000);

// ---- prices --------------------------------------------------------------------

// Each series goes round in its own time, so the month shown is that of the share shown.
const months = new Map<string, string>();
let shownSymbol = "AAPL";
const chart = new Chart(element<HTMLCanvasElement>("chart"), shownSymbol);

function showMonth(): void {
  element("month").textContent = months.get(shownSymbol) ?? "";
  element("chart").setAttribute("aria-label", `Price of ${shownSymbol}, month by month, replayed live`);
}

for (const symbol of SYMBOLS) {
  const button = document.createElement("button");
  const price = document.createElement("span");
  button.append(symbol, price);
  button.setAttribute("aria-pressed", String(symbol === shownSymbol));
  button.addEventListener("click", () => {
    for (const other of element("symbols").children) other.setAttribute("aria-pressed", String(other === button));
    shownSymbol = symbol;
    chart.show(symbol);
    showMonth();
  });
  element("symbols").append(button);
  watch(client.join(`px:${symbol}`, { last: 120 }), symbol, price);
}

function watch(room: Room, symbol: string, label: HTMLElement): void {
  room.on("event", (event) => {
    const { date, price } = (event.data ?? {}) as { date?: unknown; price?: unknown };
    if (typeof date !== "string" || typeof price !== "number") return;
    chart.add(symbol, { date, price });
    label.textContent = price.toFixed(2);
    months.set(symbol, date.replace(" 1 ", " "));
    if (symbol === shownSymbol) showMonth();
  });
}

client.connect().catch((error: Error) => note(error.message));
