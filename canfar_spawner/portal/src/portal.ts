/** Everything our pages add with JavaScript; each part looks for its own elements. */
import { enhanceAdministration } from "./administration";
import { enhanceFrame } from "./frame";
import { enhanceHome } from "./home";
import { enhanceLaunch } from "./launch";
import { enhanceProgress } from "./progress";
import { enhanceSessions } from "./sessions";
import { enhanceSetup } from "./setup";
import { enhanceShare } from "./share";
import { showTimes } from "./times";
import { enhanceTokens } from "./tokens";
import { enhanceVisit } from "./visit";
import { enhanceWidgets } from "./widgets";

enhanceFrame();
showTimes(document);
enhanceSessions();
enhanceHome();
enhanceLaunch();
enhanceProgress();
enhanceSetup();
enhanceShare();
enhanceTokens();
enhanceWidgets();
enhanceVisit();
enhanceAdministration();
