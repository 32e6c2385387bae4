// The repository's scenarios, as they stand in its folder `scenarios`.

const FILES = import.meta.glob("../../../scenarios/*.toml", { query: "?raw", import: "default", eager: true }) as Record<string, string>;

export interface ScenarioFile {
  name: string;
  title: string;
  text: string;
}

export const SCENARIOS: readonly ScenarioFile[] = Object.entries(FILES)
  .map(([path, text]) => {
    const name = path.replace(/^.*\/|\.toml$/g, "");
    return { name, text, title: /^title *= *"(.*)" *$/m.exec(text)?.[1] ?? name };
  })
  .sort((a, b) => a.name.localeCompare(b.name));
