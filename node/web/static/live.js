// Follows the market's events and renews the live parts of a page: what the server renders is what is shown.
//
// Parts are elements with an id and `data-live`. The browser goes on after the last event id by itself, also with a
// server that was started anew; only where it gave up is the stream opened again, and then everything is renewed.

const RENEWED_AT_MOST_EVERY_MS = 500;
const RENEWED_AT_LEAST_EVERY_MS = 10_000; // slots open and close without an event
const REOPENED_AFTER_MS = 1_000;
const CHANGED_AFTER_MS = 300; // after a second of the chain began by this clock

const status = document.getElementById("status");
let page = location.href; // where it names no slot, it goes on to the next one by itself
const follows = status.querySelector(".follows");

let renewedAt = 0;
let waiting = null;
let renewing = false;
let again = false;

function show(state, words) {
  if (status.dataset.state === state) return;
  status.dataset.state = state;
  follows.textContent = words;
}

// --- parts ----------------------------------------------------------------------------------------

function isUsed(part) {
  return part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");
}

function replace(part, fresh) {
  const opened = [...part.querySelectorAll("details")].map((each) => each.open);
  const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  part.replaceChildren(...document.importNode(fresh, true).childNodes);
  part.querySelectorAll("details").forEach((each, place) => (each.open = opened[place] ?? each.open));
  if (focused) part.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

// --- the slot that is shown ---------------------------------------------------------------------

function factsOf(shown) {
  return shown.querySelector("#facts [data-slot]")?.dataset ?? {};
}

function isBusy() {
  return document.querySelector("form:focus-within, .signed:not([hidden])") !== null;
}

// Whether the page is left for that of another slot; who is about to trade in this one stays with it.
function goesOn(fresh) {
  const { slot } = factsOf(document);
  if (factsOf(fresh).slot === slot) return false;
  if (slot && isBusy()) page = `/?slot=${slot}`;
  else location.reload();
  return true;
}

let change = null;

// A gate closes, and a slot opens, without an event.
function awaitChange() {
  clearTimeout(change);
  const { changesInSeconds } = factsOf(document);
  if (changesInSeconds !== undefined) change = setTimeout(soon, 1_000 * changesInSeconds + CHANGED_AFTER_MS);
}

async function renew() {
  if (renewing) {
    again = true;
    return;
  }
  renewing = true;
  renewedAt = performance.now();
  try {
    const answer = await fetch(page, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (goesOn(fresh)) return;
    for (const part of document.querySelectorAll("[data-live]")) {
      const now = fresh.getElementById(part.id);
      if (now && !isUsed(part) && !now.isEqualNode(part)) replace(part, now);
    }
    awaitChange();
    document.dispatchEvent(new Event("renewed"));
  } catch {
    // the stream tells when the server is gone
  } finally {
    renewing = false;
    if (again) {
      again = false;
      soon();
    }
  }
}

function soon() {
  if (waiting !== null || document.hidden) return;
  const rest = Math.max(0, renewedAt + RENEWED_AT_MOST_EVERY_MS - performance.now());
  waiting = setTimeout(() => {
    waiting = null;
    renew();
  }, rest);
}

// --- the stream -----------------------------------------------------------------------------------

let lastId = "";
let gone = false;

function heard(event) {
  lastId = event.lastEventId;
  status.dataset.event = lastId;
  soon();
}

function follow() {
  const stream = new EventSource(status.dataset.follow);
  for (const kind of ["begin", "reset", ...status.dataset.events.split(" ")]) {
    stream.addEventListener(kind, heard);
  }
  stream.addEventListener("open", () => {
    show("live", "live");
    if (gone) soon();
    gone = false;
  });
  stream.addEventListener("error", () => {
    gone = true;
    show("stale", "stale: the market does not answer; connecting again");
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, REOPENED_AFTER_MS);
  });
}

show("loading", "connecting");
follow();
awaitChange();
setInterval(() => status.dataset.state === "live" && soon(), RENEWED_AT_LEAST_EVERY_MS);
document.addEventListener("visibilitychange", soon);
document.addEventListener("market-changed", soon);
