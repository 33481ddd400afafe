// The order form: drafted by the server, shown as what it means, signed by a wallet or a test account, handed in.
//
// What is shown is read from the very data that is signed, all of which is compared with what was typed in.

import { Desk, NOBODY, ask, check, signatureOf } from "./signing.js";
import { eur, eurPerKwh, kwh, ueurOf, whOf } from "./units.js";
import * as wallet from "./wallet.js";

const section = document.getElementById("trade");
const form = document.getElementById("order");
const WALLET = "wallet";
const SIDES = ["bid", "ask"];

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
    energy_class: 0,
  };
}

function sentence(order, hubPrice, charge) {
  const buys = order.side === "bid";
  const money = eur(BigInt(order.limit_ueur_per_kwh) * BigInt(order.quantity_wh));
  const rest = order.immediate_or_cancel ? "; what is not traded at once is void" : "";
  const hub =
    hubPrice === null
      ? ""
      : ` The network charge of the account's bus, ${eurPerKwh(charge)} €/kWh, is part of it: ` +
        `in the book, at the hub, the order stands at ${eurPerKwh(hubPrice)} €/kWh.`;
  return (
    `You ${buys ? "buy" : "sell"} up to ${kwh(order.quantity_wh)} kWh in slot ${order.slot} at no ` +
    `${buys ? "more" : "less"} than ${eurPerKwh(order.limit_ueur_per_kwh)} €/kWh: ` +
    `${buys ? "at most" : "at least"} ${money} € for all of it${rest}.${hub}`
  );
}

async function review() {
  const wanted = asked();
  const lot = Number(form.dataset.lotWh);
  if (!wanted.quantity_wh || wanted.quantity_wh % lot) {
    throw new Error(`${kwh(wanted.quantity_wh)} kWh is not a number of whole lots, which are of ${kwh(lot)} kWh`);
  }
  const chosen = new FormData(form).get("trader");
  const trader = chosen === WALLET ? await wallet.address() : chosen;
  const found = await ask(`/v1/drafts?${new URLSearchParams({ ...wanted, trader })}`);
  const order = orderOf(found.typed_data);
  check(found.typed_data, "Order", form.dataset, order, { ...wanted, trader, expiry_unix_seconds: 0, relayer: NOBODY });
  const draft = { order, trader: order.trader, typed: found.typed_data, byWallet: chosen === WALLET };
  desk.show(draft, sentence(order, found.price_ueur_per_kwh, found.charge_ueur_per_kwh));
}

async function send(draft) {
  const { order } = draft;
  const signature = await signatureOf(draft, "/v1/test-signatures", order);
  const placed = await ask("/v1/orders", { ...order, signature });
  const { filled_wh, resting_wh } = placed.order;
  desk.forget();
  desk.say(`Placed in block ${placed.block}: ${kwh(filled_wh)} kWh filled, ${kwh(resting_wh)} kWh rest.`);
  document.dispatchEvent(new Event("market-changed"));
}

// --- the form -------------------------------------------------------------------------------------

// It is there as long as the slot takes orders, which the live part of the page tells.
function follow() {
  const isOpen = document.querySelector("#facts [data-state]").dataset.state === "open";
  if (isOpen === !section.hidden) return;
  section.hidden = !isOpen;
  if (!isOpen) desk.forget();
}

let desk;
if (section) {
  desk = new Desk(section, send);
  form.hidden = false;
  follow();
  document.addEventListener("renewed", follow);
  form.addEventListener("input", () => {
    desk.forget();
    desk.say("");
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    desk.attempt("Drafting …", review);
  });
}
