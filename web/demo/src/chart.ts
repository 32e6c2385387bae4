// A price series as a line. Holds what it was given and draws it when something changed.

export interface Tick {
  readonly date: string;
  readonly price: number;
}

/** Ticks kept per share: the whole series once, about. */
const TICKS_MAX = 124;
/** Fewer are drawn as wide as so many. */
const TICKS_MIN = 24;

export class Chart {
  readonly #series = new Map<string, Tick[]>();
  #shown: string;
  #isDrawing = false;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    shown: string,
  ) {
    this.#shown = shown;
    new ResizeObserver(() => this.#plan()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#plan());
  }

  add(symbol: string, tick: Tick): void {
    const series = this.#series.get(symbol) ?? [];
    this.#series.set(symbol, [...series, tick].slice(-TICKS_MAX));
    if (symbol === this.#shown) this.#plan();
  }

  show(symbol: string): void {
    this.#shown = symbol;
    this.#plan();
  }

  #plan(): void {
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    requestAnimationFrame(() => {
      this.#isDrawing = false;
      this.#draw();
    });
  }

  #draw(): void {
    const { canvas } = this;
    const scale = devicePixelRatio;
    const { width, height } = canvas.getBoundingClientRect();
    canvas.width = width * scale;
    canvas.height = height * scale;
    const pen = canvas.getContext("2d");
    const ticks = this.#series.get(this.#shown) ?? [];
    if (!pen || ticks.length < 2) return;
    pen.scale(scale, scale);
    const style = getComputedStyle(canvas);
    const color = (name: string) => style.getPropertyValue(name);
    const prices = ticks.map((tick) => tick.price);
    const [low, high] = [Math.min(...prices), Math.max(...prices)];
    // A young series fills the width too.
    const x = (n: number) => (n / Math.max(ticks.length - 1, TICKS_MIN)) * (width - 56);
    const y = (price: number) => 8 + (1 - (price - low) / (high - low || 1)) * (height - 20);

    pen.font = "11px system-ui, sans-serif";
    for (const part of [0, 0.5, 1]) {
      const price = low + (high - low) * part;
      pen.strokeStyle = color("--line");
      pen.beginPath();
      pen.moveTo(0, y(price));
      pen.lineTo(width - 50, y(price));
      pen.stroke();
      pen.fillStyle = color("--soft");
      pen.fillText(price.toFixed(price < 100 ? 1 : 0), width - 44, y(price) + 4);
    }
    // The series goes round: a jump back to its beginning is no move of the price.
    const line = new Path2D();
    const area = new Path2D();
    const last = ticks.length - 1;
    let start = 0;
    const isJump = (n: number) => new Date(ticks[n]?.date ?? "") < new Date(ticks[n - 1]?.date ?? "");
    prices.forEach((price, n) => {
      if (n > 0 && isJump(n)) start = n;
      const step = n === start ? "moveTo" : "lineTo";
      line[step](x(n), y(price));
      if (n === start) area.moveTo(x(n), y(low));
      area.lineTo(x(n), y(price));
      if (n === last || isJump(n + 1)) area.lineTo(x(n), y(low));
    });
    const tide = pen.createLinearGradient(0, y(high), 0, y(low));
    tide.addColorStop(0, color("--tide-soft"));
    tide.addColorStop(1, color("--tide-clear"));
    pen.fillStyle = tide;
    pen.fill(area);
    pen.strokeStyle = color("--tide");
    pen.lineWidth = 2;
    pen.lineJoin = "round";
    pen.stroke(line);
    pen.beginPath();
    pen.arc(x(last), y(prices[last] ?? low), 4, 0, 2 * Math.PI);
    pen.fillStyle = color("--tide");
    pen.fill();
  }
}
