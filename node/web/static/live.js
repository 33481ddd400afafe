// Follows the market's events and renews the live parts of a page: what the server renders is what is shown.
//
// Parts are elements with an id and `data-live`. The browser goes on after the last event id by itself, also with a
// server that was started anew; only where it gave up is the stream opened again, and then everything is renewed.
// A server that hangs, or a network that was left, closes no stream: there, a renewal that is not answered tells.

const RENEWED_AT_MOST_EVERY_MS = 500;
const RENEWED_AT_LEAST_EVERY_MS = 10_000; // slots open and close without an event
const ANSWERED_WITHIN_MS = 5_000;
const REOPENED_AFTER_MS = 1_000;
const FOCUSABLE = "a[href], button, summary, [tabindex]";
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

// What an element is for the reader, also after its part was renewed: where it leads, or what it is called.
function keyOf(element) {
  const name = element.getAttribute("href") ?? element.getAttribute("aria-label") ?? element.textContent;
  return `${element.tagName} ${name}`;
}

function replace(part, fresh) {
  const opened = [...part.querySelectorAll("details")].map((each) => each.open);
  const places = new Map(
    [...part.querySelectorAll(".scroll")].map((each) => [keyOf(each), { left: each.scrollLeft, top: each.scrollTop }]),
  );
  const focused = part.contains(document.activeElement) ? keyOf(document.activeElement) : null;
  part.replaceChildren(...document.importNode(fresh, true).childNodes);
  part.querySelectorAll("details").forEach((each, place) => (each.open = opened[place] ?? each.open));
  part.querySelectorAll(".scroll").forEach((each) => each.scrollTo(places.get(keyOf(each)) ?? {}));
  if (focused !== null) focusAgain(part, focused);
}

// What is gone, as the button of an order that was filled, leaves the keyboard at what it stood in.
function focusAgain(part, key) {
  const found = [...part.querySelectorAll(FOCUSABLE)].find((each) => keyOf(each) === key);
  (found ?? part.closest("[tabindex]"))?.focus({ preventScroll: true });
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

async function answered() {
  const signal = AbortSignal.timeout(ANSWERED_WITHIN_MS);
  const answer = await fetch(page, { headers: { Accept: "text/html" }, cache: "no-store", signal });
  if (!answer.ok) throw new Error(`${answer.status} for ${page}`);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

function put(fresh) {
  if (goesOn(fresh)) return;
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(part.id);
    if (now && !isUsed(part) && !now.isEqualNode(part)) replace(part, now);
  }
  awaitChange();
  document.dispatchEvent(new Event("renewed"));
}

async function renew() {
  if (renewing) {
    again = true;
    return;
  }
  renewing = true;
  renewedAt = performance.now();
  const fresh = await answered().catch(() => null);
  renewing = false;
  if (fresh === null) {
    miss();
  } else {
    resume();
    put(fresh);
  }
  if (again) {
    again = false;
    soon();
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
let stream = null;

function heard(event) {
  lastId = event.lastEventId;
  status.dataset.event = lastId;
  soon();
}

function follow() {
  if (stream !== null && stream.readyState !== EventSource.CLOSED) return;
  stream = new EventSource(status.dataset.follow);
  for (const kind of ["begin", "reset", ...status.dataset.events.split(" ")]) {
    stream.addEventListener(kind, heard);
  }
  stream.addEventListener("open", () => {
    const wasStale = status.dataset.state === "stale";
    show("live", "live");
    if (wasStale) soon();
  });
  stream.addEventListener("error", () => {
    showStale();
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, REOPENED_AFTER_MS);
  });
}

function showStale() {
  show("stale", "stale: the market does not answer; connecting again");
}

// A stream that is still open may be dead: it is given up, and opened anew when the market answers.
function miss() {
  showStale();
  if (stream.readyState === EventSource.OPEN) stream.close();
}

function resume() {
  if (status.dataset.state === "stale") follow();
}

show("loading", "connecting");
follow();
awaitChange();
setInterval(soon, RENEWED_AT_LEAST_EVERY_MS);
document.addEventListener("visibilitychange", soon);
document.addEventListener("market-changed", soon);
