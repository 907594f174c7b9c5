import "@xyflow/react/dist/style.css";
import "./style.css";
import { createRoot } from "react-dom/client";
import { takeToken } from "./api";
import { App } from "./App";
import { boot } from "./store";

takeToken();
void boot();
createRoot(document.getElementById("root")!).render(<App />);
