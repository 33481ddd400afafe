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

export async function address() {
  const accounts = await request("eth_requestAccounts");
  const first = Array.isArray(accounts) ? accounts[0] : undefined;
  if (typeof first !== "string") throw new WalletError("the wallet shows no account");
  return first;
}

export async function sign(trader, typedData) {
  const chain = Number(await request("eth_chainId"));
  if (chain !== typedData.domain.chainId) {
    throw new WalletError(`the wallet is on chain ${chain}, the market on ${typedData.domain.chainId}`);
  }
  return request("eth_signTypedData_v4", [trader, JSON.stringify(typedData)]);
}
