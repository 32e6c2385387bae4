// The real server, as a process that can be killed and started again.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, connect as dial } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const binary = new URL("../../../target/debug/tidegate", import.meta.url).pathname;

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}

export class Server {
  #child: ChildProcess | undefined;

  private constructor(
    readonly port: number,
    readonly dir: string,
  ) {}

  static async start(): Promise<Server> {
    const dir = mkdtempSync(join(tmpdir(), "tidegate-sdk-"));
    writeFileSync(
      join(dir, "tidegate.toml"),
      `[engine]\nkind = "log"\ndir = "${join(dir, "data")}"\n[[namespace]]\nname = "chat"\ndurability = "sync"
[[namespace]]\nname = "px"\nlane = "latest"\nhistory = { count = 20 }\nreplay_max = 10\nwindow = { count = 5 }\nstate = { enabled = true }\n`,
    );
    const server = new Server(await freePort(), dir);
    await server.run();
    return server;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/v1/ws`;
  }

  async run(): Promise<void> {
    const config = join(this.dir, "tidegate.toml");
    const child = spawn(binary, ["serve", "--config", config, "--listen", `127.0.0.1:${this.port}`, "--shards", "1"], {
      stdio: "ignore",
    });
    this.#child = child;
    while (!(await this.#answers())) {
      if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}; is it built?`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  #answers(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = dial(this.port, "127.0.0.1");
      socket.on("connect", () => {
        socket.destroy();
        resolve(true);
      });
      socket.on("error", () => resolve(false));
    });
  }

  /** `kill -9`. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
    this.#child = undefined;
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
