import "@xyflow/react/dist/style.css";
import "./style.css";
import { createRoot } from "react-dom/client";
import { takeToken } from "./api";
import { App } from "./App";
import { keepLooking, refreshRuns } from "./runs";
import { boot, isUnsaved } from "./store";

takeToken();
keepLooking();
void boot();
// The address of the next server, put into this tab: only the fragment differs, so the page stays.
window.addEventListener("hashchange", (event) => {
  if (takeToken(new URL(event.oldURL).hash)) void refreshRuns().catch(() => undefined);
});
window.addEventListener("beforeunload", (event) => { if (isUnsaved()) event.preventDefault(); });
// What could not be drawn is said on the page.
createRoot(document.getElementById("root")!, { onCaughtError: () => undefined }).render(<App />);
