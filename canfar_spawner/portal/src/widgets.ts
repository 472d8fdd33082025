/** Storage and the platform's load beside the sessions: each fails by itself, and says since when. */
import { few, showGauge, size, sizeOf } from "./amounts";
import { find, findAll, setText } from "./dom";
import { say } from "./say";
import { setTimed } from "./times";
import { Live, showUnknown, v1, v1Known, type Look } from "./v1";

const STORAGE_MS = 60_000;
const LOAD_MS = 30_000;

/** How full a home or project is, as `v1/storage` tells it. */
interface Filling {
  path: string;
  used: number | null;
  complete: boolean;
  limit: number | null;
  free: number | null;
  full: boolean;
  at: string | null;
  known: boolean;
}

/** What the platform has and has promised, as `v1/session?view=stats` tells it. */
interface Load {
  cores: { requestedCPUCores: number; cpuCoresAvailable: number };
  ram: { bytesRequested: number; bytesAvailable: number };
  gpu?: { requestedGPU: number; gpuAvailable: number };
}

function amount(place: Filling): string {
  if (place.used === null) {
    return say("not known");
  }
  const text = place.limit === null ? size(place.used) : sizeOf(place.used, place.limit);
  return place.complete ? text : say("at least %(amount)s", { amount: text });
}

/** What is said under a place besides how much of it is taken. */
function more(place: Filling, time: string): string {
  const said: string[] = [];
  if (!place.known && place.at !== null) {
    said.push(say("Not known since %(time)s.", { time }));
  }
  if (place.full) {
    said.push(say("Nearly full: remove what you do not need, or ask for more."));
  }
  if (place.free !== null) {
    said.push(say("%(size)s left on its disk.", { size: size(place.free) }));
  }
  return said.join(" ");
}

function showPlace(row: HTMLElement, place: Filling | undefined, stale: boolean): void {
  const text = place ? amount(place) : say("not known");
  setText(find("[data-amount]", HTMLElement, row), text);
  const bar = find(".gauge", HTMLElement, row);
  const [used, limit] = [place?.used ?? null, place?.limit ?? null];
  const part = used !== null && limit ? used / limit : null;
  if (bar) {
    showGauge(bar, part, text, place?.full ?? false);
    // Where nothing limits it there is nothing to be a part of.
    bar.hidden = used !== null && limit === null;
  }
  row.classList.toggle("place-full", place?.full ?? false);
  row.classList.toggle("place-old", stale || (place !== undefined && !place.known));
  const line = find("[data-more]", HTMLElement, row);
  if (line) {
    setTimed(line, new Date(place?.at ?? 0), (time) => (place ? more(place, time) : ""));
    line.hidden = line.textContent === "";
  }
}

function showStorage(widget: HTMLElement, look: Look<readonly Filling[]>): void {
  for (const row of findAll("[data-place]", HTMLElement, widget)) {
    const place = look.value?.find((each) => each.path === row.dataset.place);
    showPlace(row, place, look.trouble !== "");
  }
  showUnknown(find("[data-since]", HTMLElement, widget), look);
}

function showLoad(widget: HTMLElement, look: Look<Load>): void {
  const { value } = look;
  const parts: Record<string, [number, number, string] | null> = {
    cores: null,
    memory: null,
    gpus: null,
  };
  if (value) {
    const [cores, all] = [value.cores.requestedCPUCores, value.cores.cpuCoresAvailable];
    parts.cores = [cores, all, say("%(used)s of %(whole)s", { used: few(cores), whole: few(all) })];
    const [memory, whole] = [value.ram.bytesRequested, value.ram.bytesAvailable];
    parts.memory = [memory, whole, sizeOf(memory, whole)];
    if (value.gpu) {
      const [gpus, there] = [value.gpu.requestedGPU, value.gpu.gpuAvailable];
      parts.gpus = [gpus, there, say("%(used)s of %(whole)s", { used: gpus, whole: there })];
    }
  }
  for (const row of findAll("[data-load]", HTMLElement, widget)) {
    const part = parts[row.dataset.load ?? ""] ?? null;
    row.hidden = row.dataset.load === "gpus" && part === null;
    row.classList.toggle("place-old", look.trouble !== "");
    const text = part ? part[2] : say("not known");
    setText(find("[data-amount]", HTMLElement, row), text);
    const bar = find(".gauge", HTMLElement, row);
    if (bar) {
      showGauge(bar, part && part[1] > 0 ? part[0] / part[1] : null, text);
    }
  }
  const since = find("[data-since]", HTMLElement, widget);
  if (look.trouble === "" && look.at) {
    setTimed(since, look.at, (time) =>
      say("Promised to sessions and jobs, as of %(time)s.", { time }),
    );
  } else {
    showUnknown(since, look);
  }
}

export function enhanceWidgets(): void {
  const storage = find("[data-widget=storage]", HTMLElement);
  const load = find("[data-widget=load]", HTMLElement);
  if (storage) {
    const show = (look: Look<readonly Filling[]>): void => showStorage(storage, look);
    new Live(() => v1<readonly Filling[]>("GET", "storage"), STORAGE_MS).subscribe(show).start();
  }
  if (load && v1Known()) {
    const show = (look: Look<Load>): void => showLoad(load, look);
    new Live(() => v1<Load>("GET", "session?view=stats"), LOAD_MS).subscribe(show).start();
  }
}
