// Takes back what rests of an order: drafted by the server, shown, signed by a wallet or a test account, handed in.

import { Desk, ask, check, signatureOf } from "./signing.js";
import { kwh } from "./units.js";
import * as wallet from "./wallet.js";

const section = document.getElementById("cancel");

async function review(button) {
  const { trader } = section.dataset;
  const wanted = { trader, slot: Number(button.dataset.slot), nonce: Number(button.dataset.nonce) };
  const byWallet = !section.hasAttribute("data-test-account");
  if (byWallet) await wallet.connect(trader);
  const found = await ask(`/v1/cancel-drafts?${new URLSearchParams(wanted)}`);
  const typed = found.typed_data;
  check(typed, "Cancel", section.dataset, typed.message, wanted);
  desk.show(
    { ...wanted, typed, byWallet },
    `You cancel order ${wanted.nonce} of slot ${wanted.slot}, of which ${kwh(found.resting_wh)} kWh rest.`,
  );
}

async function send(draft) {
  const { trader, slot, nonce } = draft;
  const signature = await signatureOf(draft, "/v1/test-cancel-signatures", { trader, slot, nonce });
  const { block } = await ask("/v1/cancels", { trader, slot, nonce, signature });
  desk.forget();
  desk.say(`Cancelled in block ${block}.`);
  document.dispatchEvent(new Event("market-changed"));
}

let desk;
if (section) {
  desk = new Desk(section, send);
  section.hidden = false;
  document.getElementById("orders").addEventListener("click", (event) => {
    const button = event.target.closest("button[data-nonce]");
    if (button) desk.attempt("Drafting …", () => review(button));
  });
}
