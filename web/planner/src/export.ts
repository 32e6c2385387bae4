// What leaves the page: the picture as SVG or PNG, the text as a file, a link.

import { type Colours, draw } from "./model/svg";
import type { Point } from "./model/layout";
import type { Plan } from "./model/plan";

function colours(): Colours {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  return {
    ground: colour("--ground"),
    card: colour("--card"),
    line: colour("--edge"),
    ink: colour("--ink"),
    soft: colour("--soft"),
    tide: colour("--tide"),
  };
}

export function saveSvg(plan: Plan, points: Readonly<Record<string, Point>>): void {
  save(new Blob([draw(plan, points, colours()).svg], { type: "image/svg+xml" }), `${fileName(plan)}.svg`);
}

export async function savePng(plan: Plan, points: Readonly<Record<string, Point>>): Promise<void> {
  const { svg, width, height } = draw(plan, points, colours());
  const url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const scale = Math.min(2, 8_000 / Math.max(width, height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.ceil(width * scale);
    canvas.height = Math.ceil(height * scale);
    const context = canvas.getContext("2d");
    if (!context) throw new Error("this browser draws no pictures");
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
    if (!blob) throw new Error("the picture is too large");
    save(blob, `${fileName(plan)}.png`);
  } finally {
    URL.revokeObjectURL(url);
  }
}

export function saveText(text: string, plan: Plan | null): void {
  save(new Blob([text], { type: "application/toml" }), `${plan ? fileName(plan) : "plan"}.toml`);
}

function fileName(plan: Plan): string {
  return plan.title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 60) || "plan";
}

function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // Not before the browser has begun to save it.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
