// Amounts between people and the market, exactly: kWh and Wh, €/kWh and µ€/kWh, n€ and €. No floats on the way.

function whole(text, decimals) {
  const [, sign, units, rest] = /^(-?)([0-9]+)(?:[.]([0-9]*))?$/.exec(text.trim());
  if ((rest ?? "").length > decimals) throw new RangeError(`${text}: more than ${decimals} decimals`);
  return Number(sign + units + (rest ?? "").padEnd(decimals, "0"));
}

function decimal(number, decimals, least) {
  const digits = String(number).replace("-", "").padStart(decimals + 1, "0");
  const rest = digits.slice(-decimals).replace(new RegExp(`0{0,${decimals - least}}$`), "");
  return `${Number(number) < 0 ? "\u2212" : ""}${digits.slice(0, -decimals)}.${rest}`;
}

export const whOf = (kwh) => whole(kwh, 3);
export const ueurOf = (eur) => whole(eur, 6);
export const kwh = (wh) => decimal(wh, 3, 3);
export const eurPerKwh = (ueur) => decimal(ueur, 6, 4);
export const eur = (neur) => decimal(neur, 9, 2);
