// The planner's page: draw or write a topology, and see at once whether it keeps its contract.

import "@xyflow/svelte/dist/style.css";
import "uplot/dist/uPlot.min.css";
import "./style.css";
import { mount } from "svelte";
import App from "./App.svelte";

const target = document.getElementById("page");
if (!target) throw new Error("index.html has no #page");
mount(App, { target });
