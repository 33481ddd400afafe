// What the pages that sign have in common: asking the server, and signing by a wallet or a test account.

import * as wallet from "./wallet.js";
import { sameAddress } from "./wallet.js";

export const NOBODY = "0x0000000000000000000000000000000000000000";

export async function ask(path, body) {
  const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const found = await fetch(path, options);
  const told = await found.json();
  if (!found.ok) throw new Error(`${told.title}: ${told.detail}`);
  return told;
}

// A message of the kind that was asked for, for this page's market, with the members that were asked for.
export function check(typed, kind, market, message, wanted) {
  const { domain, primaryType } = typed;
  const here = sameAddress(domain.verifyingContract, market.exchange) && domain.chainId === Number(market.chainId);
  const same = Object.entries(wanted).every(([name, value]) =>
    String(value).startsWith("0x") ? sameAddress(message[name], value) : message[name] === value,
  );
  if (primaryType !== kind || !here || !same) {
    throw new Error("the server drafted something else than was asked for; nothing was signed");
  }
}

// A section that shows what is signed, a button that signs it, and a line that says what came of it.
export class Desk {
  constructor(section, signs) {
    this.signed = section.querySelector(".signed");
    this.sentence = section.querySelector(".sentence");
    this.typed = section.querySelector(".typed");
    this.button = section.querySelector(".sign");
    this.answer = section.querySelector(".answer");
    this.draft = null;
    this.button.addEventListener("click", () => this.attempt("Signing …", () => signs(this.draft)));
  }

  get isShown() {
    return !this.signed.hidden;
  }

  show(draft, sentence) {
    this.draft = draft;
    this.sentence.textContent = sentence;
    this.typed.textContent = JSON.stringify(draft.typed, null, 2);
    this.signed.hidden = false;
  }

  forget() {
    this.draft = null;
    this.signed.hidden = true;
  }

  say(words, isError = false) {
    this.answer.className = isError ? "answer error" : "answer";
    this.answer.textContent = words;
  }

  // Take a step, say what came of it, and leave the keyboard where it goes on.
  async attempt(words, step) {
    this.say(words);
    this.button.disabled = true;
    try {
      await step();
      if (this.answer.textContent === words) this.say("");
    } catch (failure) {
      this.say(failure.message, true);
    } finally {
      this.button.disabled = false;
      (this.isShown ? this.button : this.answer).focus();
    }
  }
}

export async function signatureOf(draft, path, body) {
  if (draft.byWallet) return wallet.sign(draft.trader, draft.typed);
  return (await ask(path, body)).signature;
}
