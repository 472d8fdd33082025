/** Everything our pages add with JavaScript; each part looks for its own elements. */
import { enhanceFrame } from "./frame";
import { enhanceLaunch } from "./launch";
import { enhanceProgress } from "./progress";
import { enhanceSessions } from "./sessions";
import { showTimes } from "./times";

enhanceFrame();
showTimes(document);
enhanceSessions();
enhanceLaunch();
enhanceProgress();
