// The engine's WebAssembly, held by its C face: bytes in, bytes out. See `crates/plan-web/src/face.rs`.

interface Exports {
  memory: WebAssembly.Memory;
  alloc(len: number): number;
  free(at: number, len: number): void;
  call(at: number, len: number): bigint;
}

export class Module {
  readonly #exports: Exports;
  readonly #encoder = new TextEncoder();
  readonly #decoder = new TextDecoder();
  #tell: (told: unknown) => void = () => {};

  constructor(compiled: WebAssembly.Module) {
    const tell = (place: number, length: number): void => this.#tell(this.#read(place, length));
    this.#exports = new WebAssembly.Instance(compiled, { page: { tell } }).exports as unknown as Exports;
  }

  /** Asks, and passes on what is told meanwhile; a trap is thrown, after which this module is of no use. */
  call(request: unknown, tell: (told: unknown) => void = () => {}): unknown {
    this.#tell = tell;
    const bytes = this.#encoder.encode(JSON.stringify(request));
    const at = this.#exports.alloc(bytes.length);
    // The memory may have moved: a view is good until the next call.
    new Uint8Array(this.#exports.memory.buffer, at, bytes.length).set(bytes);
    const answer = BigInt.asUintN(64, this.#exports.call(at, bytes.length));
    const [place, length] = [Number(answer >> 32n), Number(answer & 0xffff_ffffn)];
    const read = this.#read(place, length);
    this.#exports.free(place, length);
    return read;
  }

  #read(place: number, length: number): unknown {
    return JSON.parse(this.#decoder.decode(new Uint8Array(this.#exports.memory.buffer, place, length)));
  }
}
