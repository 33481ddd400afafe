// The browser's wallet (EIP-1193): its key never leaves it.

export class WalletError extends Error {}

function provider() {
  if (!window.ethereum) throw new WalletError("this browser has no wallet: install one, or choose a test account");
  return window.ethereum;
}

async function request(method, params = []) {
  try {
    return await provider().request({ method, params });
  } catch (failure) {
    if (failure instanceof WalletError) throw failure;
    throw new WalletError(failure.code === 4001 ? "declined in the wallet" : `the wallet: ${failure.message}`);
  }
}

export const sameAddress = (one, other) => one.toLowerCase() === other.toLowerCase();

// Accounts that this page may ask for, after the wallet has let it.
async function addresses() {
  const accounts = await request("eth_requestAccounts");
  if (!Array.isArray(accounts) || typeof accounts[0] !== "string") throw new WalletError("the wallet shows no account");
  return accounts;
}

export async function address() {
  return (await addresses())[0];
}

export async function connect(trader) {
  const shown = await addresses();
  if (shown.some((each) => sameAddress(each, trader))) return;
  throw new WalletError(`the wallet shows ${shown[0]}, this is the account ${trader}: choose that one in the wallet`);
}

export async function sign(trader, typedData) {
  const chain = Number(await request("eth_chainId"));
  if (chain !== typedData.domain.chainId) {
    throw new WalletError(`the wallet is on chain ${chain}, the market on ${typedData.domain.chainId}`);
  }
  return request("eth_signTypedData_v4", [trader, JSON.stringify(typedData)]);
}
