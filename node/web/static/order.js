// The order form: drafted by the server, shown as what it means, signed by a wallet or a test account, handed in.
//
// What is shown is read from the very data that is signed, and compared with what was typed in.

import { eur, eurPerKwh, kwh, ueurOf, whOf } from "./units.js";
import * as wallet from "./wallet.js";

const form = document.getElementById("order");
const signed = document.getElementById("signed");
const answer = document.getElementById("answer");
const button = document.getElementById("sign");
const WALLET = "wallet";
const SIDES = ["bid", "ask"];

let draft = null;

// --- the server -----------------------------------------------------------------------------------

async function ask(path, body) {
  const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const found = await fetch(path, options);
  const told = await found.json();
  if (!found.ok) throw new Error(`${told.title}: ${told.detail}`);
  return told;
}

function orderOf(typed) {
  const { trader, slot, nonce, side, energyClass, limitPrice, quantity, flags, expiry, relayer } = typed.message;
  return {
    trader,
    slot,
    nonce,
    side: SIDES[side],
    energy_class: energyClass,
    limit_ueur_per_kwh: limitPrice,
    quantity_wh: quantity,
    immediate_or_cancel: flags === 1,
    expiry_unix_seconds: expiry,
    relayer,
  };
}

// --- what is signed -------------------------------------------------------------------------------

function asked() {
  const fields = new FormData(form);
  return {
    slot: Number(form.dataset.slot),
    side: fields.get("side"),
    limit_ueur_per_kwh: ueurOf(fields.get("limit")),
    quantity_wh: whOf(fields.get("energy")),
    immediate_or_cancel: fields.get("immediate") === "on",
  };
}

function sentence(order, hubPrice) {
  const buys = order.side === "bid";
  const money = eur(BigInt(order.limit_ueur_per_kwh) * BigInt(order.quantity_wh));
  const rest = order.immediate_or_cancel ? "; what is not traded at once is void" : "";
  const hub = hubPrice === null ? "" : ` At the hub that is ${eurPerKwh(hubPrice)} €/kWh.`;
  return (
    `You ${buys ? "buy" : "sell"} up to ${kwh(order.quantity_wh)} kWh in slot ${order.slot} at no ` +
    `${buys ? "more" : "less"} than ${eurPerKwh(order.limit_ueur_per_kwh)} €/kWh: ` +
    `${buys ? "at most" : "at least"} ${money} € for all of it${rest}.${hub}`
  );
}

async function review() {
  const wanted = asked();
  if (wanted.quantity_wh % Number(form.dataset.lotWh)) throw new Error(document.getElementById("lot").textContent);
  const chosen = new FormData(form).get("trader");
  const trader = chosen === WALLET ? await wallet.address() : chosen;
  const found = await ask(`/v1/drafts?${new URLSearchParams({ ...wanted, trader })}`);
  const order = orderOf(found.typed_data);
  const same = order.trader.toLowerCase() === trader.toLowerCase();
  if (!same || Object.entries(wanted).some(([name, value]) => order[name] !== value)) {
    throw new Error("the server drafted another order than was asked for; nothing was signed");
  }
  draft = { order, typed: found.typed_data, byWallet: chosen === WALLET };
  document.getElementById("sentence").textContent = sentence(order, found.price_ueur_per_kwh);
  document.getElementById("typed").textContent = JSON.stringify(found.typed_data, null, 2);
  signed.hidden = false;
  button.focus();
}

async function send() {
  const { order, typed, byWallet } = draft;
  const signature = byWallet
    ? await wallet.sign(order.trader, typed)
    : (await ask("/v1/test-signatures", order)).signature;
  const placed = await ask("/v1/orders", { ...order, signature });
  const { filled_wh, resting_wh } = placed.order;
  forget();
  answer.textContent = `Placed in block ${placed.block}: ${kwh(filled_wh)} kWh filled, ${kwh(resting_wh)} kWh rest.`;
  document.dispatchEvent(new Event("market-changed"));
}

// --- the form -------------------------------------------------------------------------------------

function forget() {
  draft = null;
  signed.hidden = true;
}

async function attempt(step, words) {
  answer.className = "";
  answer.textContent = words;
  button.disabled = true;
  try {
    await step();
    if (answer.textContent === words) answer.textContent = "";
  } catch (failure) {
    answer.className = "error";
    answer.textContent = failure.message;
  } finally {
    button.disabled = false;
    if (!signed.hidden) button.focus();
  }
}

if (form) {
  form.hidden = false;
  form.addEventListener("input", forget);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(review, "Drafting …");
  });
  button.addEventListener("click", () => attempt(send, "Signing …"));
}
