// viem against a node: deploy, send, wait, read, filter logs, decode a revert, listen by WebSocket.
import { readFileSync } from "node:fs";
import { BaseError, ContractFunctionRevertedError, createPublicClient, createWalletClient, http, webSocket } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { foundry } from "viem/chains";

const { url, abi, bytecode, key, start } = JSON.parse(readFileSync(0, "utf8"));
const account = privateKeyToAccount(key);
const reading = createPublicClient({ chain: foundry, transport: http(url), pollingInterval: 50 });
const wallet = createWalletClient({ account, chain: foundry, transport: http(url) });
const socket = createPublicClient({ chain: foundry, transport: webSocket(url.replace("http", "ws")) });

const created = await wallet.deployContract({ abi, bytecode, args: [BigInt(start)] });
const { contractAddress: address } = await reading.waitForTransactionReceipt({ hash: created });

let unwatch;
const heard = new Promise((resolve) => {
  unwatch = socket.watchContractEvent({
    address, abi, eventName: "Counted", onLogs: (logs) => resolve(Number(logs[0].args.total)),
  });
});
await socket.getChainId();
await new Promise((resolve) => setTimeout(resolve, 200));

const contract = { address, abi };
const revertOf = (error) =>
  error instanceof BaseError
    ? error.walk((each) => each instanceof ContractFunctionRevertedError)?.reason
    : String(error);
const hash = await wallet.writeContract({ ...contract, functionName: "add", args: [4n] });
const receipt = await reading.waitForTransactionReceipt({ hash });
const block = await reading.getBlock({ blockNumber: receipt.blockNumber });
const events = await reading.getContractEvents({
  ...contract, eventName: "Counted", args: { who: account.address }, fromBlock: 0n,
});
const zero = { ...contract, functionName: "add", args: [0n], account };
const reason = await reading.simulateContract(zero).catch(revertOf);
const refusal = await reading.estimateContractGas(zero).catch(revertOf);
const forced = await wallet.writeContract({ ...zero, gas: 100_000n });
const raised = await reading.waitForTransactionReceipt({ hash: forced });

console.log(JSON.stringify({
  chain: await reading.getChainId(),
  deployed: (await reading.getCode({ address })).length > 100,
  status: receipt.status === "success" ? 1 : 0,
  mined: block.transactions.includes(hash),
  count: Number(await reading.readContract({ ...contract, functionName: "count" })),
  totals: events.map((event) => Number(event.args.total)),
  heard: await heard,
  reason,
  refusal,
  raised: raised.status === "success" ? 1 : 0,
}));
unwatch();
process.exit(0);
