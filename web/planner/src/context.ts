// The one planner of the page, for every part of it.

import { createContext } from "svelte";
import type { Planner } from "./planner.svelte";

export const [usePlanner, providePlanner] = createContext<Planner>();
