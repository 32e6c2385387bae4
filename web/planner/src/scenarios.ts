// The repository's scenarios, as they stand in its folder `scenarios`.

const FILES = import.meta.glob("../../../scenarios/*.toml", { query: "?raw", import: "default", eager: true }) as Record<string, string>;

export interface ScenarioFile {
  name: string;
  title: string;
  text: string;
  /** A design that holds, and why; the other is the first one, which does not. */
  isSolution: boolean;
}

export const SCENARIOS: readonly ScenarioFile[] = Object.entries(FILES)
  .map(([path, text]) => {
    const name = path.replace(/^.*\/|\.toml$/g, "");
    return { name, text, title: /^title *= *"(.*)" *$/m.exec(text)?.[1] ?? name, isSolution: name.endsWith(".holds") };
  })
  .sort((a, b) => a.title.localeCompare(b.title));
